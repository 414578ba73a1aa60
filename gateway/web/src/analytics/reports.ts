import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Clients } from "../api/clients";
import { ORGANIZATION } from "../api/names";
import type { Alert } from "../gen/reelmesh/analytics/v1/alert_pb";
import type { GetRetentionResponse } from "../gen/reelmesh/analytics/v1/analytics_service_pb";
import { Granularity, Metric, type MetricRow } from "../gen/reelmesh/analytics/v1/report_pb";
import { DIMENSIONS, type DimensionName, FIGURES, type FigureName } from "./figures";
import { type AnalyticsView, before, type Chosen, type Times, timeRange, wholeDays } from "./view";

/** Values of figures; NaN for what was not measured. */
export type Values = Readonly<Record<FigureName, number>>;

/** Figures over time: for each step of it the value, null where nothing was measured. */
export interface Series {
  /** When each step begins, seconds since 1970. */
  x: number[];
  values: Readonly<Record<FigureName, (number | null)[]>>;
}

/** A value of a dimension, and its figures. */
export interface Row {
  value: string;
  figures: Values;
}

/** Figures by the values of a dimension. */
export interface Breakdown {
  rows: Row[];
  /** Asks for more of them; empty where there are none. */
  next: string;
}

const NAMES = Object.keys(FIGURES) as FigureName[];
const METRICS = NAMES.map((name) => FIGURES[name].metric);
/** What is nothing where nothing happened; anything else cannot be said then. */
const ADDED = new Set([Metric.VIEWS, Metric.UNIQUE_VIEWERS, Metric.WATCH_SECONDS]);
const ROWS = 25;
const SERIES_ROWS = 10_000;

/** Asks AnalyticsService what the page shows. */
export class Reports {
  readonly #client: Clients["analytics"];
  readonly #signal: AbortSignal;

  constructor(client: Clients["analytics"], signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  /** Figures of the whole time and of the one before it, and when they were counted, in milliseconds since 1970. */
  async overview(view: AnalyticsView, time: Times): Promise<{ now: Values; earlier: Values; fresh: number }> {
    const [now, earlier] = await Promise.all(
      [time, before(time)].map((each) => this.#query({ ...asked(view, each), metrics: METRICS })),
    );
    const fresh = now?.freshTime ? timestampMs(now.freshTime) : 0;
    return { now: values(now?.rows[0]), earlier: values(earlier?.rows[0]), fresh };
  }

  /** Figures by the steps of the time. */
  async series(view: AnalyticsView, time: Times): Promise<Series> {
    const { granularity } = time;
    const request = { ...asked(view, time), metrics: METRICS, granularity, pageSize: SERIES_ROWS };
    const { rows } = await this.#query(request);
    return series(rows, time);
  }

  /** Figures by the values of the dimension that the view asks for; `token` goes on from there. */
  async breakdown(view: AnalyticsView, time: Times, token = ""): Promise<Breakdown> {
    const { rows, nextPageToken } = await this.#query({
      ...asked(view, time),
      metrics: METRICS,
      groupBy: [DIMENSIONS[view.by].dimension],
      orderBy: view.sort ? FIGURES[view.sort].metric : Metric.UNSPECIFIED,
      ascending: view.ascending,
      pageSize: ROWS,
      pageToken: token,
    });
    return { rows: rows.map(row), next: nextPageToken };
  }

  /** Values of a dimension, those with most views first. */
  async known(name: DimensionName, time: Times): Promise<string[]> {
    const { rows } = await this.#query({
      ...asked({ filters: [] }, time),
      metrics: [Metric.VIEWS],
      groupBy: [DIMENSIONS[name].dimension],
      orderBy: Metric.VIEWS,
      pageSize: 100,
    });
    return rows.map(({ dimensions }) => dimensions[0] ?? "");
  }

  /** How much of a video was watched. */
  async retention(video: string, time: Times): Promise<GetRetentionResponse> {
    return this.#client.getRetention({ video, timeRange: wholeDays(time) }, { signal: this.#signal });
  }

  /** What is wrong now. */
  async alerts(): Promise<Alert[]> {
    const { alerts } = await this.#client.listAlerts(
      { parent: ORGANIZATION, open: true },
      { signal: this.#signal },
    );
    return alerts;
  }

  #query(request: Parameters<Clients["analytics"]["queryMetrics"]>[0]) {
    return this.#client.queryMetrics(request, { signal: this.#signal });
  }
}

function asked({ filters }: { filters: readonly Chosen[] }, time: Times) {
  // Values of one dimension are alternatives; the service takes them as one filter.
  const names = [...new Set(filters.map(({ name }) => name))];
  return {
    parent: ORGANIZATION,
    timeRange: timeRange(time),
    granularity: Granularity.UNSPECIFIED,
    filters: names.map((name) => ({
      dimension: DIMENSIONS[name].dimension,
      values: filters.filter((each) => each.name === name).map(({ value }) => value),
    })),
  };
}

/** Read a row of METRICS; where there is none, nothing happened. */
export function values(found: Pick<MetricRow, "values"> | undefined): Values {
  const read = NAMES.map((name, index) => [name, found?.values[index] ?? nothing(FIGURES[name].metric)]);
  return Object.fromEntries(read) as Record<FigureName, number>;
}

function nothing(metric: Metric): number {
  return ADDED.has(metric) ? 0 : Number.NaN;
}

function row(found: MetricRow): Row {
  return { value: found.dimensions[0] ?? "", figures: values(found) };
}

/** Put rows where their steps are; what is missing between them is nothing, or was not measured. */
export function series(rows: readonly Pick<MetricRow, "startTime" | "values">[], time: Times): Series {
  const byStart = new Map(rows.map((each) => [each.startTime ? timestampMs(each.startTime) : 0, each]));
  const steps = Math.max(0, Math.round((time.end - time.start) / time.step));
  const starts = Array.from({ length: steps }, (_, index) => time.start + index * time.step);
  const found = starts.map((start) => values(byStart.get(start)));
  const line = (name: FigureName) => found.map((each) => (Number.isFinite(each[name]) ? each[name] : null));
  return {
    x: starts.map((start) => start / 1000),
    values: Object.fromEntries(NAMES.map((name) => [name, line(name)])) as Series["values"],
  };
}
