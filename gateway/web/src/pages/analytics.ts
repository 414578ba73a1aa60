import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { html, nothing, type TemplateResult } from "lit";
import { type ChartData, ChartElement } from "../analytics/chart";
import {
  change,
  count,
  DIMENSIONS,
  type DimensionName,
  FIGURES,
  type FigureName,
  isDimension,
  percent,
  second,
  valueName,
} from "../analytics/figures";
import { watchConcurrents } from "../analytics/live";
import { type Breakdown, Reports, type Series, type Values } from "../analytics/reports";
import { Titles } from "../analytics/titles";
import {
  type AnalyticsView,
  type Chosen,
  RANGES,
  type RangeName,
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
import { Dimension, Metric } from "../gen/reelmesh/analytics/v1/report_pb";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

/** How often the figures of a time that ends now are asked for again, in milliseconds. */
const REFRESH = 30_000;
/** How long live viewings stay in their chart, in milliseconds. */
const LIVE = 10 * 60_000;

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
  /** Seconds since 1970 and viewings. */
  lately: [number, number][];
  connected: boolean;
  /** Dimension that a filter is being made of, and its values. */
  filtering: { name: DimensionName; values: string[] } | undefined;
}

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
        const at = live.time ? timestampMs(live.time) : Date.now();
        const since = (at - LIVE) / 1000;
        const point: [number, number] = [at / 1000, Number(live.viewings)];
        const lately = [...this.state.lately.filter(([time]) => time > since && time < point[0]), point];
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
  #go(change: Partial<AnalyticsView>): void {
    const view = { ...this.state.view, ...change };
    history.replaceState(null, "", writeView(view));
    this.set({ view, filtering: undefined });
    void this.#load();
  }

  #filter(chosen: Chosen): void {
    const others = this.state.view.filters.filter((each) => !same(each, chosen));
    this.#go({ filters: [...others, chosen] });
  }

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
    const { error, loading, now, alerts } = this.state;
    const nothingYet = now !== undefined && now.views === 0 && now.watched === 0;
    return html`<div class="heading">
        <h1>Analytics</h1>
        ${this.#live()}
      </div>
      ${this.#controls()}
      ${errorBox(error, () => void this.#load())}
      ${alerts.map((alert) => this.#alert(alert))}
      <div class="reports" aria-busy=${loading}>
        ${now === undefined ? (loading ? html`<p class="empty" role="status">Loading…</p>` : nothing) : this.#tiles(now)}
        ${
          nothingYet
            ? html`<p class="empty" role="status">Nobody watched in this time. Figures appear seconds after somebody does.</p>`
            : nothing
        }
        ${now === undefined || nothingYet ? nothing : this.#reportsOf()}
      </div>`;
  }

  #reportsOf() {
    return html`<div class="charts">${this.#charts().map(chart)}</div>
      ${this.#breakdown()} ${this.#retention()}`;
  }

  #live() {
    const { live, connected } = this.state;
    if (live === undefined) {
      return nothing;
    }
    return html`<p class="live">
      <span class="dot" ?data-connected=${connected}></span>
      <strong class="viewings">${Number(live.viewings)}</strong> watching now${connected ? "" : ", connecting again…"}
    </p>`;
  }

  #lately(): ChartData {
    const { live, lately } = this.state;
    const title = (video: string) => valueName("video", video, this.#titles.known);
    const most = live?.videos.slice(0, 3).map(({ video, viewings }) => `${title(video)} ${viewings}`);
    return {
      title: "Watching now",
      note: most?.join(" · ") || "Viewings that were heard of in the last 45 seconds.",
      x: lately.map(([time]) => time),
      axis: "local",
      formatX: (x) => new Date(x * 1000).toLocaleTimeString(),
      lines: [
        { label: "Viewings", color: "good", kind: "area", values: lately.map(([, viewings]) => viewings) },
      ],
      format: count,
    };
  }

  #controls() {
    const { view, filtering, fresh } = this.state;
    const range = (event: Event) => {
      const { value } = event.target as HTMLSelectElement;
      const today = new Date().toISOString().slice(0, 10);
      this.#go(
        value === "days"
          ? { range: undefined, days: { first: today, last: today } }
          : { range: value as RangeName, days: undefined },
      );
    };
    const dimension = (event: Event) => {
      const { value } = event.target as HTMLSelectElement;
      if (isDimension(value)) {
        void this.#choose(value);
      }
    };
    const value = (event: Event) => {
      const { selectedIndex } = event.target as HTMLSelectElement;
      const picked = filtering?.values[selectedIndex - 1];
      if (filtering && picked !== undefined) {
        this.#filter({ name: filtering.name, value: picked });
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
      ${view.days ? this.#days(view.days) : nothing}
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
                  (each) => html`<option>${valueName(filtering.name, each, this.#titles.known)}</option>`,
                )}
              </select>
            </span>`
          : nothing
      }
      <ul class="chips" aria-label="Filters">${view.filters.map((chosen) => this.#chip(chosen))}</ul>
      ${fresh ? html`<span class="fresh">Counted up to <time>${new Date(fresh).toLocaleTimeString()}</time></span>` : nothing}
    </form>`;
  }

  #days(days: { first: string; last: string }) {
    const input = (label: string, key: "first" | "last") => {
      const changed = (event: Event) => {
        const { value } = event.target as HTMLInputElement;
        const wanted = { ...days, [key]: value };
        if (value !== "" && wanted.first <= wanted.last) {
          this.#go({ days: wanted });
        }
      };
      return html`<span class="field">
        <label for=${key}>${label}</label>
        <input id=${key} type="date" .value=${days[key]} @change=${changed} />
      </span>`;
    };
    return html`${input("from", "first")} ${input("to", "last")}`;
  }

  #chip(chosen: Chosen) {
    const text = `${DIMENSIONS[chosen.name].label}: ${valueName(chosen.name, chosen.value, this.#titles.known)}`;
    const remove = () => this.#go({ filters: this.state.view.filters.filter((each) => !same(each, chosen)) });
    return html`<li>
      <button type="button" aria-label="Remove filter ${text}" @click=${remove}>${text} <span aria-hidden="true">✕</span></button>
    </li>`;
  }

  #alert(alert: Alert) {
    const { metric, evidence } = alert;
    const what = metric === Metric.REBUFFER_RATIO ? "Rebuffering" : "Failures";
    const name = dimensions().find(([, { dimension }]) => dimension === alert.dimension)?.[0];
    const where =
      name === undefined || alert.dimension === Dimension.UNSPECIFIED
        ? ""
        : `, ${DIMENSIONS[name].label.toLowerCase()} ${valueName(name, alert.value, this.#titles.known)}`;
    const since = alert.startTime ? timestampDate(alert.startTime).toLocaleString() : "";
    return html`<div class="alert" role="alert">
      <strong>${what} ${percent(evidence?.observed ?? Number.NaN)}${where}</strong>
      <span>
        ${percent(evidence?.baseline ?? Number.NaN)} is usual at this hour. Since ${since}, in
        ${count(Number(evidence?.observedViews ?? 0))} views.
      </span>
    </div>`;
  }

  #tiles(now: Values) {
    const { earlier } = this.state;
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

  #charts(): ChartData[] {
    const { series, time } = this.state;
    if (series === undefined) {
      return [];
    }
    const days = time.step >= 86_400_000;
    const formatX = (x: number) =>
      days
        ? new Date(x * 1000).toLocaleDateString(undefined, { timeZone: "UTC" })
        : new Date(x * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" });
    const shared = { x: series.x, axis: days ? "utc" : "local", formatX, sync: "analytics" } as const;
    const line = (name: FigureName, color: string, more = {}) => ({
      label: FIGURES[name].label,
      values: series.values[name],
      color,
      ...more,
    });
    // In hours, or the marks of its axis would stand at odd ones.
    const watched = line("watched", "accent", { kind: "area" });
    return [
      {
        ...shared,
        title: "Views",
        lines: [line("views", "accent", { kind: "bars" })],
        format: count,
      },
      this.#lately(),
      {
        ...shared,
        title: "Startup time",
        lines: [line("startup", "accent"), line("slowStartup", "busy", { dashed: true })],
        format: FIGURES.startup.format,
        formatY: (value) => `${value / 1000} s`,
      },
      {
        ...shared,
        title: "Rebuffering",
        note: "Time in stalls, of the time that was played or stalled.",
        lines: [line("rebuffering", "busy", { kind: "area" })],
        format: percent,
      },
      {
        ...shared,
        title: "Failures and exits",
        note: "Of the views.",
        lines: [line("failures", "bad"), line("exits", "quiet", { dashed: true })],
        format: percent,
      },
      {
        ...shared,
        title: "Score",
        note: "Failures, startup, smoothness and picture in one: 100 is the best.",
        lines: [line("score", "good", { kind: "area" })],
        format: FIGURES.score.format,
        formatY: (value) => value.toFixed(0),
        top: 100,
      },
      {
        ...shared,
        title: "Watch time",
        lines: [{ ...watched, values: watched.values.map((value) => value && value / 3600) }],
        format: (hours) => FIGURES.watched.format(3600 * hours),
        formatY: (hours) => `${Number(hours.toPrecision(3))} h`,
      },
      {
        ...shared,
        title: "Bitrate",
        note: "Of what played, by the time that it did; Mbit/s.",
        lines: [line("bitrate", "accent")],
        format: FIGURES.bitrate.format,
        formatY: (value) => `${Number((value / 1000).toPrecision(3))}`,
      },
    ];
  }

  #breakdown() {
    const { view, breakdown } = this.state;
    const by = (event: Event) => this.#go({ by: (event.target as HTMLSelectElement).value as DimensionName });
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
            <tr>${this.#head(undefined, DIMENSIONS[view.by].label)} ${COLUMNS.map((name) => this.#head(name, FIGURES[name].short))}</tr>
          </thead>
          <tbody>${breakdown?.rows.map(({ value, figures }) => this.#row(value, figures))}</tbody>
        </table>
      </div>
      ${
        breakdown?.next
          ? html`<div class="more"><button type="button" @click=${() => void this.#more(breakdown.next)}>Show more</button></div>`
          : nothing
      }
    </section>`;
  }

  /** The head of a column sorts by it: the greatest first, names from A on; the other way round at the next click. */
  #head(name: FigureName | undefined, label: string) {
    const { sort, ascending } = this.state.view;
    const current = sort === name;
    const rising = name === undefined || ascending;
    const sorted = current ? (rising ? "ascending" : "descending") : "none";
    const go = () => this.#go({ sort: name, ascending: current && name !== undefined ? !ascending : false });
    return html`<th scope="col" aria-sort=${sorted}>
      <button type="button" @click=${go}>${label} <span aria-hidden="true">${current ? (rising ? "▲" : "▼") : ""}</span></button>
    </th>`;
  }

  #row(value: string, figures: Values) {
    const { by } = this.state.view;
    const name = valueName(by, value, this.#titles.known);
    const most = Math.max(1, ...(this.state.breakdown?.rows.map((row) => row.figures.views) ?? []));
    const only = () => this.#filter({ name: by, value });
    return html`<tr>
      <th scope="row" style="--share: ${((100 * figures.views) / most).toFixed(1)}%">
        <button type="button" title="Only this" @click=${only}>${name}</button>
      </th>
      ${COLUMNS.map((column) => html`<td>${FIGURES[column].format(figures[column])}</td>`)}
    </tr>`;
  }

  #retention(): TemplateResult | typeof nothing {
    const { videos, retained, retention } = this.state;
    if (retained === undefined) {
      return nothing;
    }
    const choices = videos.includes(retained) ? videos : [retained, ...videos];
    const starts = Number(retention?.starts ?? 0);
    const points = retention?.points ?? [];
    const data: ChartData = {
      title: valueName("video", retained, this.#titles.known),
      note: `Of ${count(starts)} starts, how many played each second; a second look counts again.`,
      x: points.map((point) => point.second),
      axis: "other",
      formatX: second,
      lines: [{ label: "Playing", color: "accent", kind: "area", values: points.map(({ ratio }) => ratio) }],
      format: percent,
    };
    const pick = (event: Event) =>
      this.#go({ video: choices[(event.target as HTMLSelectElement).selectedIndex] });
    return html`<section aria-labelledby="retention">
      <div class="heading">
        <h2 id="retention">Retention</h2>
        <span class="field">
          <label for="video">Video</label>
          <select id="video" @change=${pick}>
            ${choices.map(
              (video) =>
                html`<option ?selected=${video === retained}>${valueName("video", video, this.#titles.known)}</option>`,
            )}
          </select>
        </span>
      </div>
      ${points.length > 0 ? chart(data) : html`<p class="empty">No second of it has played in these days.</p>`}
    </section>`;
  }
}

function chart(data: ChartData): TemplateResult {
  return html`<reelmesh-chart .data=${data}></reelmesh-chart>`;
}

function dimensions() {
  return Object.entries(DIMENSIONS) as [DimensionName, (typeof DIMENSIONS)[DimensionName]][];
}

function chosenVideos({ filters, video }: AnalyticsView): string[] {
  const filtered = filters.filter(({ name }) => name === "video").map(({ value }) => value);
  return video === undefined ? filtered : [...filtered, video];
}

function same(one: Chosen, other: Chosen): boolean {
  return one.name === other.name && one.value === other.value;
}

// The element must be there before a page holds it.
void ChartElement;
customElements.define("analytics-page", AnalyticsPage);
