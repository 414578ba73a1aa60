import { svg, type TemplateResult } from "lit";

/** Icons of the player, on a grid of 24 by 24, in the color of the text. */
const PATHS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M6 4.5h4v15H6zm8 0h4v15h-4z",
  sound: "M4 9v6h4l5 4.5v-15L8 9zm11.5-.9v7.8a4.5 4.5 0 0 0 0-7.8z",
  silence: "M4 9v6h4l5 4.5v-15L8 9zm11 1 5 5m0-5-5 5",
  fullscreen: "M4 4h6v2H6v4H4zm10 0h6v6h-2V6h-4zM4 14h2v4h4v2H4zm14 0h2v6h-6v-2h4z",
};

/** Return an icon; the control that holds it says what it means. */
export function icon(name: keyof typeof PATHS): TemplateResult {
  const crossed = name === "silence" ? "currentcolor" : "none";
  return svg`<svg viewBox="0 0 24 24" width="22" height="22" fill="currentcolor" stroke=${crossed} stroke-width="1.6"
    aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
