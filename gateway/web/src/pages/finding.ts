import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { choices, valueName } from "../discovery/facets";
import { type Found, find, more, PAGE_SIZE } from "../discovery/finding";
import { hitItem } from "../discovery/hit";
import { mayPass, plainly } from "../discovery/problems";
import { tile } from "../discovery/tile";
import {
  type Chosen,
  FACETS,
  type FindingView,
  type Go,
  isOrder,
  ORDERS,
  type OrderName,
  readFinding,
  toggled,
  writeFinding,
} from "../discovery/view";
import { View } from "../ui/view";
import "../discovery/discovery.css";

interface State {
  view: FindingView;
  found: Found | undefined;
  loading: boolean;
  error: ApiError | undefined;
}

/** `/search?q=…` and `/browse`: what was found, by words or without, and filters. */
export class FindingPage extends View<State> {
  readonly #discovery: Clients["discovery"];
  /** Aborted when something else is looked for. */
  #turn = new AbortController();

  constructor({ discovery }: Pick<Clients, "discovery">) {
    super({ view: readFinding(location.search), found: undefined, loading: true, error: undefined });
    this.#discovery = discovery;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const { query } = this.state.view;
    document.title = `${query || "Browse"} · Reelmesh`;
    void this.#load();
  }

  async #load(): Promise<void> {
    const { view } = this.state;
    await this.#ask(undefined, (signal) => find(this.#discovery, view, signal));
  }

  async #more(before: Found): Promise<void> {
    const { view } = this.state;
    const pages = view.pages + 1;
    await this.#ask(before, async (signal) => {
      const found = await more(this.#discovery, view, before, PAGE_SIZE, signal);
      // Back from a title one sees again what one had seen; the step itself is not worth going back to.
      const wider = { ...view, pages };
      history.replaceState(null, "", writeFinding(wider));
      this.set({ view: wider });
      return found;
    });
  }

  /** Show what `work` finds; `before` stays where it fails. */
  async #ask(before: Found | undefined, work: (signal: AbortSignal) => Promise<Found>): Promise<void> {
    this.#turn.abort();
    this.#turn = new AbortController();
    const signal = AbortSignal.any([this.#turn.signal, this.gone]);
    this.set({ loading: true, error: undefined });
    try {
      const found = await work(signal);
      signal.throwIfAborted();
      this.set({ found, loading: false });
    } catch (error) {
      if (!signal.aborted) {
        this.set({ found: before, error: toApiError(error), loading: false });
      }
    }
  }

  /** Look for something else, under an address that says so. */
  readonly #go: Go = (change) => {
    const view = { ...this.state.view, pages: 1, ...change };
    history.pushState(null, "", writeFinding(view));
    this.set({ view });
    void this.#load();
  };

  protected override render() {
    const { view, found, loading, error } = this.state;
    return html`<div class="heading">
        <h1>${view.query ? html`Results for “${view.query}”` : "Browse"}</h1>
        ${view.query ? nothing : this.#orders()}
      </div>
      ${this.#chips()}
      <div class="finding">
        ${this.#facets()}
        <section aria-label="Titles" aria-busy=${loading} class="found">
          <p class="quiet" role="status">${this.#count()}</p>
          ${found ? this.#found(found) : nothing} ${error ? this.#problem(error) : nothing}
        </section>
      </div>`;
  }

  #orders() {
    const { view } = this.state;
    // Numbers mean something within a series or a collection only.
    const numbered = view.filters.some(({ facet }) => facet === "parent" || facet === "collection");
    const offered = (Object.keys(ORDERS) as OrderName[]).filter((name) => name !== "number" || numbered);
    const choose = (event: Event) => {
      const { value } = event.target as HTMLSelectElement;
      if (isOrder(value)) {
        this.#go({ order: value });
      }
    };
    return html`<span class="field">
      <label for="order">Order</label>
      <select id="order" @change=${choose}>
        ${offered.map((name) => html`<option value=${name} ?selected=${name === view.order}>${ORDERS[name].label}</option>`)}
      </select>
    </span>`;
  }

  #chips() {
    const { filters } = this.state.view;
    if (filters.length === 0) {
      return nothing;
    }
    const chip = (chosen: Chosen) => {
      const named = chosen.facet === "parent" || chosen.facet === "collection"; // by an id, which says nothing
      const text = named ? FACETS[chosen.facet] : valueName(chosen.facet, chosen.value);
      const remove = () => this.#go({ filters: toggled(filters, chosen) });
      return html`<li>
        <button type="button" aria-label="Remove filter ${text}" @click=${remove}>
          ${text} <span aria-hidden="true">✕</span>
        </button>
      </li>`;
    };
    return html`<ul class="chips" aria-label="Filters">
      ${filters.map(chip)}
    </ul>`;
  }

  #facets() {
    const { found, view } = this.state;
    const offered = [...choices(found?.facets ?? [], view.filters)];
    return html`<form class="facets" aria-label="Filter" @submit=${(event: Event) => event.preventDefault()}>
      ${offered.map(
        ([facet, values]) =>
          html`<fieldset>
            <legend>${FACETS[facet]}</legend>
            ${values.map(
              (value) =>
                html`<label>
                  <input
                    type="checkbox"
                    .checked=${value.chosen}
                    @change=${() => this.#go({ filters: toggled(view.filters, { facet, value: value.value }) })}
                  />
                  <span>${value.label}</span>
                  ${value.titles === undefined ? nothing : html`<span class="quiet">${value.titles.toLocaleString()}</span>`}
                </label>`,
            )}
          </fieldset>`,
      )}
    </form>`;
  }

  #count(): string {
    const { found, loading, error } = this.state;
    if (error && found === undefined) {
      return "";
    }
    if (found === undefined || (loading && found.hits.length === 0)) {
      return "Looking…";
    }
    const { total } = found;
    if (total === undefined || found.hits.length === 0) {
      return "";
    }
    return total === 1 ? "One title" : `${total.toLocaleString()}${total >= 10_000 ? " or more" : ""} titles`;
  }

  #problem(error: ApiError) {
    return html`<div class="notice" role="alert">
      <p><strong>${plainly(error)}</strong> ${error.reason ? html`<code>${error.reason}</code>` : nothing}</p>
      ${mayPass(error) ? html`<button type="button" @click=${() => void this.#load()}>Try again</button>` : nothing}
    </div>`;
  }

  #found(found: Found) {
    const { view, loading, error } = this.state;
    if (found.hits.length === 0) {
      return loading ? nothing : this.#nothing();
    }
    return html`${
      view.query
        ? html`<ol class="hits">${found.hits.map(hitItem)}</ol>`
        : html`<ul class="grid">${found.hits.map(({ title }) => tile(title))}</ul>`
    }
      <div class="more">
        ${
          found.next && !error
            ? html`<button type="button" ?disabled=${loading} @click=${() => void this.#more(found)}>Show more</button>`
            : nothing
        }
      </div>`;
  }

  #nothing() {
    const { query, filters } = this.state.view;
    return html`<div class="notice">
      <p><strong>Nothing found${query ? html` for “${query}”` : nothing}.</strong></p>
      <p>
        ${
          filters.length > 0
            ? html`<button type="button" @click=${() => this.#go({ filters: [] })}>Take the filters away</button>`
            : "Try fewer or other words; misspelt ones are found too."
        }
        <a href="/browse">Browse everything</a>
      </p>
    </div>`;
  }
}

customElements.define("finding-page", FindingPage);
