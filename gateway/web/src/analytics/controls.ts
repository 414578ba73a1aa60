import { html, nothing } from "lit";
import { DIMENSIONS, type DimensionName, dimensions, isDimension, valueName } from "./figures";
import {
  type AnalyticsView,
  type Chosen,
  type Go,
  RANGES,
  type RangeName,
  withFilter,
  withoutFilter,
} from "./view";

/** Dimension that a filter is being made of, and its values. */
export interface Filtering {
  name: DimensionName;
  values: string[];
}

/** What the controls show and do. */
export interface Controls {
  view: AnalyticsView;
  filtering: Filtering | undefined;
  /** What arrived before this time is counted, in milliseconds since 1970. */
  fresh: number;
  titles: ReadonlyMap<string, string>;
  go: Go;
  /** Asks for the values of a dimension, to filter by one. */
  choose: (name: DimensionName) => void;
}

/** What to show: the time and the filters. */
export function controls({ view, filtering, fresh, titles, go, choose }: Controls) {
  const range = (event: Event) => {
    const { value } = event.target as HTMLSelectElement;
    const today = new Date().toISOString().slice(0, 10);
    go(
      value === "days"
        ? { range: undefined, days: { first: today, last: today } }
        : { range: value as RangeName, days: undefined },
    );
  };
  const dimension = (event: Event) => {
    const { value } = event.target as HTMLSelectElement;
    if (isDimension(value)) {
      choose(value);
    }
  };
  const value = (event: Event) => {
    const { selectedIndex } = event.target as HTMLSelectElement;
    const picked = filtering?.values[selectedIndex - 1];
    if (filtering && picked !== undefined) {
      go({ filters: withFilter(view.filters, { name: filtering.name, value: picked }) });
    }
  };
  return html`<form class="controls-row" aria-label="What to show" @submit=${(event: Event) => event.preventDefault()}>
    <span class="field">
      <label for="range">Time</label>
      <select id="range" @change=${range}>
        ${Object.entries(RANGES).map(
          ([name, { label }]) =>
            html`<option value=${name} ?selected=${name === view.range}>${label}</option>`,
        )}
        <option value="days" ?selected=${view.days !== undefined}>Days…</option>
      </select>
    </span>
    ${view.days ? daysFields(view.days, go) : nothing}
    <span class="field">
      <label for="filter">Filter</label>
      <select id="filter" @change=${dimension} .value=${filtering?.name ?? ""}>
        <option value="">by…</option>
        ${dimensions().map(([name, { label }]) => html`<option value=${name}>${label}</option>`)}
      </select>
    </span>
    ${
      filtering
        ? html`<span class="field">
            <label for="value">${DIMENSIONS[filtering.name].label}</label>
            <select id="value" @change=${value}>
              <option value="">which?</option>
              ${filtering.values.map(
                (each) => html`<option>${valueName(filtering.name, each, titles)}</option>`,
              )}
            </select>
          </span>`
        : nothing
    }
    <ul class="chips" aria-label="Filters">${view.filters.map((chosen) => chip(chosen, view, titles, go))}</ul>
    ${fresh ? html`<span class="fresh">Counted up to <time>${new Date(fresh).toLocaleTimeString()}</time></span>` : nothing}
  </form>`;
}

function daysFields(days: { first: string; last: string }, go: Go) {
  const input = (label: string, key: "first" | "last") => {
    const changed = (event: Event) => {
      const { value } = event.target as HTMLInputElement;
      const wanted = { ...days, [key]: value };
      if (value !== "" && wanted.first <= wanted.last) {
        go({ days: wanted });
      }
    };
    return html`<span class="field">
      <label for=${key}>${label}</label>
      <input id=${key} type="date" .value=${days[key]} @change=${changed} />
    </span>`;
  };
  return html`${input("from", "first")} ${input("to", "last")}`;
}

function chip(chosen: Chosen, { filters }: AnalyticsView, titles: ReadonlyMap<string, string>, go: Go) {
  const text = `${DIMENSIONS[chosen.name].label}: ${valueName(chosen.name, chosen.value, titles)}`;
  const remove = () => go({ filters: withoutFilter(filters, chosen) });
  return html`<li>
    <button type="button" aria-label="Remove filter ${text}" @click=${remove}>${text} <span aria-hidden="true">✕</span></button>
  </li>`;
}
