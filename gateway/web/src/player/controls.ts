import { html, type TemplateResult } from "lit";
import { clock } from "../ui/format";
import { icon } from "../ui/icons";
import type { Quality } from "./engine";

/** What the controls show. */
export interface ControlsState {
  /** Position in seconds. */
  position: number;
  /** Length of the whole presentation in seconds. */
  duration: number;
  /** Second up to which is encoded and can be played. */
  available: number;
  paused: boolean;
  muted: boolean;
  volume: number;
  qualities: Quality[];
  /** Height that the viewer chose; undefined adapts. */
  chosen: number | undefined;
}

/** What the viewer asks for. */
export interface ControlsActions {
  toggle(): void;
  seek(position: number): void;
  mute(): void;
  setVolume(volume: number): void;
  choose(height: number | undefined): void;
  fullscreen(): void;
}

/** The controls below the picture. */
export function controls(state: ControlsState, actions: ControlsActions): TemplateResult {
  const spoken = `${clock(state.position)} of ${clock(state.duration)}`;
  const value = (event: Event) => Number((event.target as HTMLInputElement).value);
  const active = state.qualities.find((quality) => quality.active);
  return html`<div class="controls" role="group" aria-label="Player controls">
    <button type="button" class="icon" @click=${actions.toggle} aria-label=${state.paused ? "Play" : "Pause"}>
      ${icon(state.paused ? "play" : "pause")}
    </button>
    <input
      class="seek"
      type="range"
      min="0"
      step="any"
      max=${state.duration}
      .value=${`${state.position}`}
      aria-label="Position"
      aria-valuetext=${spoken}
      style="--available: ${share(state.available, state.duration)}; --played: ${share(state.position, state.duration)}"
      @input=${(event: Event) => actions.seek(value(event))}
    />
    <output class="time">${clock(state.position)} / ${clock(state.duration)}</output>
    <button type="button" class="icon" @click=${actions.mute} aria-label="Mute" aria-pressed=${state.muted}>
      ${icon(state.muted ? "silence" : "sound")}
    </button>
    <input
      class="volume"
      type="range"
      min="0"
      max="1"
      step="0.05"
      .value=${`${state.volume}`}
      aria-label="Volume"
      @input=${(event: Event) => actions.setVolume(value(event))}
    />
    <select
      aria-label="Quality"
      @change=${(event: Event) => {
        const { value: height } = event.target as HTMLSelectElement;
        actions.choose(height === "" ? undefined : Number(height));
      }}
    >
      <option value="" ?selected=${state.chosen === undefined}>Auto${active ? ` (${active.height}p)` : ""}</option>
      ${state.qualities.map(
        ({ height }) =>
          html`<option value=${height} ?selected=${state.chosen === height}>${height}p</option>`,
      )}
    </select>
    <button type="button" class="icon" @click=${actions.fullscreen} aria-label="Full screen">${icon("fullscreen")}</button>
  </div>`;
}

/** Act on a key as players do: space or K, arrows, M, F. Returns true where the key meant something. */
export function keyPressed(key: string, state: ControlsState, actions: ControlsActions): boolean {
  const keys: Record<string, () => void> = {
    " ": actions.toggle,
    k: actions.toggle,
    ArrowLeft: () => actions.seek(state.position - 5),
    ArrowRight: () => actions.seek(state.position + 5),
    m: actions.mute,
    f: actions.fullscreen,
  };
  keys[key]?.();
  return key in keys;
}

function share(part: number, whole: number): string {
  return `${whole > 0 ? Math.min(100, (100 * part) / whole).toFixed(2) : 0}%`;
}
