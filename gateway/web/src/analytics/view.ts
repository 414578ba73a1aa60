import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Granularity } from "../gen/reelmesh/analytics/v1/report_pb";
import { type DimensionName, FIGURES, type FigureName, isDimension } from "./figures";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Times that can be chosen, by the words that the page's address uses. */
export const RANGES = {
  "1h": { label: "Last hour", span: HOUR },
  "6h": { label: "Last 6 hours", span: 6 * HOUR },
  "24h": { label: "Last 24 hours", span: DAY },
  "7d": { label: "Last 7 days", span: 7 * DAY },
  "28d": { label: "Last 28 days", span: 28 * DAY },
  "90d": { label: "Last 90 days", span: 90 * DAY },
} as const;

export type RangeName = keyof typeof RANGES;

/** Viewings that are looked at: those with this value. */
export interface Chosen {
  name: DimensionName;
  value: string;
}

/** What the page shows; its address says so, and can be sent to someone else. */
export interface AnalyticsView {
  /** A time that ends now; undefined for days. */
  range: RangeName | undefined;
  /** First and last day (UTC), such as "2026-11-01", where they are chosen. */
  days: { first: string; last: string } | undefined;
  filters: readonly Chosen[];
  by: DimensionName;
  sort: FigureName | undefined;
  ascending: boolean;
  /** Video whose retention is shown; undefined for the one that is viewed most. */
  video: string | undefined;
}

/** Looks at something else. */
export type Go = (change: Partial<AnalyticsView>) => void;

const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** Read what the address asks for; what it does not say, or says wrongly, is the usual. */
export function readView(search: string): AnalyticsView {
  const query = new URLSearchParams(search);
  const [range, first, last, by] = ["range", "first", "last", "by"].map((key) => query.get(key));
  const days = isDate(first) && isDate(last) && first <= last ? { first, last } : undefined;
  const sort = query.get("sort");
  return {
    range: days ? undefined : isRange(range) ? range : "24h",
    days,
    filters: query.getAll("filter").flatMap((text) => {
      const [name = "", ...rest] = text.split(":");
      return isDimension(name) ? [{ name, value: rest.join(":") }] : [];
    }),
    by: isDimension(by) ? by : "video",
    sort: sort === "name" ? undefined : isFigure(sort) ? sort : "views",
    ascending: query.get("order") === "ascending",
    video: query.get("retention") ?? undefined,
  };
}

/** Write the address that asks for a view. */
export function writeView(view: AnalyticsView): string {
  const query = new URLSearchParams();
  if (view.days) {
    query.set("first", view.days.first);
    query.set("last", view.days.last);
  } else {
    query.set("range", view.range ?? "24h");
  }
  for (const { name, value } of view.filters) {
    query.append("filter", `${name}:${value}`);
  }
  query.set("by", view.by);
  query.set("sort", view.sort ?? "name");
  if (view.ascending) {
    query.set("order", "ascending");
  }
  if (view.video !== undefined) {
    query.set("retention", view.video);
  }
  return `?${query}`;
}

/** Return filters with one more. */
export function withFilter(filters: readonly Chosen[], chosen: Chosen): Chosen[] {
  return [...withoutFilter(filters, chosen), chosen];
}

/** Return filters without one. */
export function withoutFilter(filters: readonly Chosen[], { name, value }: Chosen): Chosen[] {
  return filters.filter((each) => each.name !== name || each.value !== value);
}

/** Return the videos that a view names. */
export function chosenVideos({ filters, video }: AnalyticsView): string[] {
  const filtered = filters.filter(({ name }) => name === "video").map(({ value }) => value);
  return video === undefined ? filtered : [...filtered, video];
}

function isDate(text: string | null | undefined): text is string {
  return text !== null && text !== undefined && DATE.test(text) && !Number.isNaN(Date.parse(text));
}

function isRange(text: string | null | undefined): text is RangeName {
  return text !== null && text !== undefined && Object.hasOwn(RANGES, text);
}

function isFigure(text: string | null): text is FigureName {
  return text !== null && Object.hasOwn(FIGURES, text);
}

/** A span of time, in milliseconds since 1970, and the steps that charts take through it. */
export interface Times {
  start: number;
  end: number;
  step: number;
  granularity: Granularity;
}

/** Return the time that a view is about. What ends now ends with the step that now is in. */
export function times({ range, days }: Pick<AnalyticsView, "range" | "days">, now: number): Times {
  const [from, to] = days
    ? [Date.parse(days.first), Date.parse(days.last) + DAY]
    : [now - RANGES[range ?? "24h"].span, now];
  const { step, granularity } = steps(to - from);
  return { start: Math.floor(from / step) * step, end: Math.ceil(to / step) * step, step, granularity };
}

function steps(span: number): Pick<Times, "step" | "granularity"> {
  if (span <= 6 * HOUR) {
    return { step: MINUTE, granularity: Granularity.MINUTE };
  }
  return span <= 8 * DAY
    ? { step: HOUR, granularity: Granularity.HOUR }
    : { step: DAY, granularity: Granularity.DAY };
}

/** Return the time just before, of the same length, to compare with. */
export function before({ start, end, ...rest }: Times): Times {
  return { start: start - (end - start), end: start, ...rest };
}

/** Return a time as requests have it. */
export function timeRange({ start, end }: Pick<Times, "start" | "end">) {
  return { startTime: timestampFromMs(start), endTime: timestampFromMs(end) };
}

/** Return the same in whole days of UTC, for what is counted by day. */
export function wholeDays({ start, end }: Times) {
  return timeRange({ start: Math.floor(start / DAY) * DAY, end: Math.ceil(end / DAY) * DAY });
}
