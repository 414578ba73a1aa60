import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { PersonalizationSwitch } from "../discovery/personalization";
import { plainly } from "../discovery/problems";
import { recommended } from "../discovery/tile";
import { titleRow } from "../discovery/title-row";
import { viewerContext, whoWatches } from "../discovery/viewing";
import { rowName } from "../discovery/words";
import type { Row } from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { toldOnLeaving } from "../player/leaving";
import { View } from "../ui/view";
import "../discovery/discovery.css";

interface State {
  rows: readonly Row[];
  loading: boolean;
  error: ApiError | undefined;
}

/** `/`: rows of what the viewer may want. */
export class HomePage extends View<State> {
  readonly #clients: Clients;
  readonly #switch: PersonalizationSwitch;

  constructor(clients: Clients) {
    super({ rows: [], loading: true, error: undefined });
    this.#clients = clients;
    this.#switch = new PersonalizationSwitch(clients);
    this.#switch.addEventListener("change", () => void this.#load());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  async #load(): Promise<void> {
    this.set({ loading: true, error: undefined });
    try {
      // Who comes from a video has just said where they are in it.
      await toldOnLeaving();
      const request = { ...whoWatches(this.#clients.session), context: viewerContext() };
      const { rows } = await this.#clients.recommendations.getHome(request, { signal: this.gone });
      this.set({ rows, loading: false });
    } catch (error) {
      if (!this.gone.aborted) {
        this.set({ error: toApiError(error), loading: false });
      }
    }
  }

  protected override render() {
    const { rows, loading, error } = this.state;
    const empty = rows.length === 0 && !loading && error === undefined;
    return html`<h1 class="unseen">Home</h1>
      ${error ? this.#away(error) : nothing} ${empty ? this.#empty() : nothing}
      ${loading && rows.length === 0 ? html`<p class="empty" role="status">Loading…</p>` : nothing}
      <div class="rows" aria-busy=${loading}>
        ${rows.map((row) =>
          titleRow(
            rowName(row),
            row.titles.map((each) => recommended(each, row)),
          ),
        )}
      </div>
      ${this.#switch}`;
  }

  #away(error: ApiError) {
    return html`<div class="notice" role="alert">
      <p><strong>What to watch cannot be shown.</strong> ${plainly(error)}</p>
      <p>
        <button type="button" @click=${() => void this.#load()}>Try again</button>
        <a href="/videos">See all videos</a>
      </p>
    </div>`;
  }

  #empty() {
    const edits = this.#clients.session.account?.edits ?? false;
    return html`<div class="notice">
      <p><strong>There is nothing to watch yet.</strong> Titles stand here as soon as some are published.</p>
      <p>${edits ? html`<a href="/upload">Upload a video</a>` : html`<a href="/videos">See all videos</a>`}</p>
    </div>`;
  }
}

customElements.define("home-page", HomePage);
