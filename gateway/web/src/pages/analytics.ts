import { html, nothing } from "lit";
import { alertBox } from "../analytics/alerts";
import { breakdownTable } from "../analytics/breakdown";
import { chart } from "../analytics/chart";
import { figureCharts } from "../analytics/charts";
import { concurrentsChart, type Point, watchingNow, withCounted } from "../analytics/concurrents";
import { controls, type Filtering } from "../analytics/controls";
import type { DimensionName } from "../analytics/figures";
import { watchConcurrents } from "../analytics/live";
import { type Breakdown, Reports, type Series, type Values } from "../analytics/reports";
import { retentionSection } from "../analytics/retention";
import { tiles } from "../analytics/tiles";
import { Titles } from "../analytics/titles";
import {
  type AnalyticsView,
  chosenVideos,
  type Go,
  readView,
  type Times,
  times,
  writeView,
} from "../analytics/view";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { sleep } from "../api/waiting";
import type { Alert } from "../gen/reelmesh/analytics/v1/alert_pb";
import type {
  GetRetentionResponse,
  WatchConcurrentsResponse,
} from "../gen/reelmesh/analytics/v1/analytics_service_pb";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

/** How often the figures of a time that ends now are asked for again, in milliseconds. */
const REFRESH = 30_000;

interface State {
  view: AnalyticsView;
  time: Times;
  loading: boolean;
  error: ApiError | undefined;
  now: Values | undefined;
  earlier: Values | undefined;
  /** What arrived before this time is counted, in milliseconds since 1970. */
  fresh: number;
  series: Series | undefined;
  breakdown: Breakdown | undefined;
  alerts: Alert[];
  /** Videos to choose from, those with most views first. */
  videos: string[];
  retention: GetRetentionResponse | undefined;
  retained: string | undefined;
  live: WatchConcurrentsResponse | undefined;
  lately: Point[];
  connected: boolean;
  filtering: Filtering | undefined;
}

/** `/analytics`: what viewers experience, for who makes videos. */
export class AnalyticsPage extends View<State> {
  readonly #clients: Clients;
  readonly #reports: Reports;
  readonly #titles: Titles;
  /** The latest question; what answers an earlier one is thrown away. */
  #turn = 0;

  constructor(clients: Clients) {
    const view = readView(location.search);
    super({
      view,
      time: times(view, Date.now()),
      loading: true,
      error: undefined,
      now: undefined,
      earlier: undefined,
      fresh: 0,
      series: undefined,
      breakdown: undefined,
      alerts: [],
      videos: [],
      retention: undefined,
      retained: undefined,
      live: undefined,
      lately: [],
      connected: false,
      filtering: undefined,
    });
    this.#clients = clients;
    this.#reports = new Reports(clients.analytics, this.gone);
    this.#titles = new Titles(clients.videos);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
    void this.#refresh();
    void this.#watch();
  }

  /** Ask for all that the view shows. */
  async #load(): Promise<void> {
    this.#turn += 1;
    const turn = this.#turn;
    const { view } = this.state;
    const time = times(view, Date.now());
    this.set({ loading: true, error: undefined, time });
    try {
      const [overview, series, breakdown, alerts, videos] = await Promise.all([
        this.#reports.overview(view, time),
        this.#reports.series(view, time),
        this.#reports.breakdown(view, time),
        this.#reports.alerts(),
        this.#reports.known("video", time),
      ]);
      const named = view.by === "video" ? breakdown.rows.map(({ value }) => value) : [];
      await this.#titles.learn([...videos, ...named, ...chosenVideos(view)], this.gone);
      if (turn === this.#turn) {
        this.set({ ...overview, series, breakdown, alerts, videos, loading: false });
        await this.#retain(turn);
      }
    } catch (error) {
      if (!this.gone.aborted && turn === this.#turn) {
        this.set({ error: toApiError(error), loading: false });
      }
    }
  }

  async #retain(turn: number): Promise<void> {
    const { view, videos, time } = this.state;
    const video = view.video ?? videos[0];
    const retention = video === undefined ? undefined : await this.#reports.retention(video, time);
    if (turn === this.#turn) {
      this.set({ retention, retained: video });
    }
  }

  /** A time that ends now moves on. */
  async #refresh(): Promise<void> {
    while (!this.gone.aborted) {
      await sleep(REFRESH, this.gone).catch(() => undefined);
      const idle = document.visibilityState === "hidden" || this.state.loading;
      if (!this.gone.aborted && !idle && this.state.view.range !== undefined && !this.state.error) {
        await this.#load();
      }
    }
  }

  async #watch(): Promise<void> {
    try {
      for await (const live of watchConcurrents(this.#clients.analytics, this.gone)) {
        if (live === undefined) {
          this.set({ connected: false });
          continue;
        }
        const lately = withCounted(this.state.lately, live);
        await this.#titles.learn(
          live.videos.map(({ video }) => video),
          this.gone,
        );
        this.set({ live, lately, connected: true });
      }
    } catch (error) {
      // The figures say what is wrong; where they do not, the stream does.
      if (!this.gone.aborted) {
        this.set({ connected: false, error: this.state.error ?? toApiError(error) });
      }
    }
  }

  async #more(token: string): Promise<void> {
    const { view, time, breakdown } = this.state;
    try {
      const { rows, next } = await this.#reports.breakdown(view, time, token);
      await this.#titles.learn(view.by === "video" ? rows.map(({ value }) => value) : [], this.gone);
      if (breakdown === this.state.breakdown) {
        this.set({ breakdown: { rows: [...(breakdown?.rows ?? []), ...rows], next } });
      }
    } catch (error) {
      this.set({ error: toApiError(error) });
    }
  }

  /** Look at something else, under an address that says so. */
  readonly #go: Go = (change) => {
    const view = { ...this.state.view, ...change };
    history.replaceState(null, "", writeView(view));
    this.set({ view, filtering: undefined });
    void this.#load();
  };

  async #choose(name: DimensionName): Promise<void> {
    try {
      const values = await this.#reports.known(name, this.state.time);
      await this.#titles.learn(name === "video" ? values : [], this.gone);
      this.set({ filtering: { name, values } });
    } catch (error) {
      this.set({ error: toApiError(error) });
    }
  }

  protected override render() {
    const { view, error, loading, now, earlier, alerts, live, connected, filtering, fresh } = this.state;
    const titles = this.#titles.known;
    const choose = (name: DimensionName) => void this.#choose(name);
    const nothingYet = now !== undefined && now.views === 0 && now.watched === 0;
    return html`<div class="heading">
        <h1>Analytics</h1>
        ${watchingNow(live, connected)}
      </div>
      ${controls({ view, filtering, fresh, titles, go: this.#go, choose })}
      ${errorBox(error, () => void this.#load())}
      ${alerts.map((alert) => alertBox(alert, titles))}
      <div class="reports" aria-busy=${loading}>
        ${now === undefined ? (loading ? html`<p class="empty" role="status">Loading…</p>` : nothing) : tiles(now, earlier)}
        ${
          nothingYet
            ? html`<p class="empty" role="status">Nobody watched in this time. Figures appear seconds after somebody does.</p>`
            : nothing
        }
        ${now === undefined || nothingYet ? nothing : this.#reportsOf()}
      </div>`;
  }

  #reportsOf() {
    const { view, time, series, breakdown, videos, retained, retention, live, lately } = this.state;
    const titles = this.#titles.known;
    const concurrents = concurrentsChart(lately, live, titles);
    const more = (token: string) => void this.#more(token);
    return html`<div class="charts">${series && figureCharts(series, time, concurrents).map(chart)}</div>
      ${breakdownTable({ view, breakdown, titles, go: this.#go, more })}
      ${retentionSection({ videos, retained, retention, titles, go: this.#go })}`;
  }
}

customElements.define("analytics-page", AnalyticsPage);
