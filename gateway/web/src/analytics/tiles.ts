import { html, nothing } from "lit";
import { change, FIGURES, type FigureName } from "./figures";
import type { Values } from "./reports";

const TILES: FigureName[] = [
  "views",
  "viewers",
  "watched",
  "startup",
  "rebuffering",
  "failures",
  "exits",
  "score",
];

/** The most important figures, and how they have changed. */
export function tiles(now: Values, earlier: Values | undefined) {
  return html`<dl class="tiles">
    ${TILES.map((name) => {
      const figure = FIGURES[name];
      const compared = earlier && change(figure, now[name], earlier[name]);
      const good = compared?.good === undefined ? nothing : `${compared.good}`;
      return html`<div class="tile" data-figure=${name}>
        <dt>${figure.label}</dt>
        <dd>
          <span class="value">${figure.format(now[name])}</span>
          ${compared ? html`<span class="change" data-good=${good} title="against the time before">${compared.text}</span>` : nothing}
        </dd>
      </div>`;
    })}
  </dl>`;
}
