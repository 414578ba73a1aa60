import { html, nothing } from "lit";
import { DIMENSIONS, type DimensionName, dimensions, FIGURES, type FigureName, valueName } from "./figures";
import type { Breakdown, Row } from "./reports";
import { type AnalyticsView, type Go, withFilter } from "./view";

const COLUMNS: FigureName[] = [
  "views",
  "watched",
  "startup",
  "slowStartup",
  "rebuffering",
  "failures",
  "exits",
  "bitrate",
  "score",
];

/** What the table shows and does. */
export interface BreakdownTable {
  view: AnalyticsView;
  breakdown: Breakdown | undefined;
  titles: ReadonlyMap<string, string>;
  go: Go;
  /** Asks for the rows that follow. */
  more: (token: string) => void;
}

/** Figures by the values of a dimension. */
export function breakdownTable({ view, breakdown, titles, go, more }: BreakdownTable) {
  const most = Math.max(1, ...(breakdown?.rows.map(({ figures }) => figures.views) ?? []));
  const by = (event: Event) => go({ by: (event.target as HTMLSelectElement).value as DimensionName });
  return html`<section aria-labelledby="breakdown">
    <div class="heading">
      <h2 id="breakdown">By ${DIMENSIONS[view.by].label.toLowerCase()}</h2>
      <span class="field">
        <label for="by">Break down by</label>
        <select id="by" @change=${by}>
          ${dimensions().map(
            ([name, { label }]) =>
              html`<option value=${name} ?selected=${name === view.by}>${label}</option>`,
          )}
        </select>
      </span>
    </div>
    <div class="scroll" role="region" aria-labelledby="breakdown" tabindex="0">
      <table class="breakdown">
        <thead>
          <tr>${head(view, go, undefined, DIMENSIONS[view.by].label)} ${COLUMNS.map((name) => head(view, go, name, FIGURES[name].short))}</tr>
        </thead>
        <tbody>${breakdown?.rows.map((each) => row(each, most, view, titles, go))}</tbody>
      </table>
    </div>
    ${
      breakdown?.next
        ? html`<div class="more"><button type="button" @click=${() => more(breakdown.next)}>Show more</button></div>`
        : nothing
    }
  </section>`;
}

/** The head of a column sorts by it: the greatest first, names from A on; the other way round at the next click. */
function head({ sort, ascending }: AnalyticsView, go: Go, name: FigureName | undefined, label: string) {
  const current = sort === name;
  const rising = name === undefined || ascending;
  const sorted = current ? (rising ? "ascending" : "descending") : "none";
  const toggle = () => go({ sort: name, ascending: current && name !== undefined ? !ascending : false });
  return html`<th scope="col" aria-sort=${sorted}>
    <button type="button" @click=${toggle}>${label} <span aria-hidden="true">${current ? (rising ? "▲" : "▼") : ""}</span></button>
  </th>`;
}

function row(
  { value, figures }: Row,
  most: number,
  { by, filters }: AnalyticsView,
  titles: ReadonlyMap<string, string>,
  go: Go,
) {
  const name = valueName(by, value, titles);
  const only = () => go({ filters: withFilter(filters, { name: by, value }) });
  return html`<tr>
    <th scope="row" style="--share: ${((100 * figures.views) / most).toFixed(1)}%">
      <button type="button" title="Only this" @click=${only}>${name}</button>
    </th>
    ${COLUMNS.map((column) => html`<td>${FIGURES[column].format(figures[column])}</td>`)}
  </tr>`;
}
