import { Dimension, Metric } from "../gen/reelmesh/analytics/v1/report_pb";
import { clock } from "../ui/format";

/** How a metric is shown. */
export interface Figure {
  metric: Metric;
  label: string;
  /** The same where there is little room. */
  short: string;
  /** Writes a value for people; of what was not measured the values are NaN. */
  format: (value: number) => string;
  /** Whether more of it is better, or less. */
  better: "more" | "less";
}

const figure = (
  metric: Metric,
  label: string,
  format: (value: number) => string,
  better: "more" | "less",
  short = label,
): Figure => ({ metric, label, short, format, better });

export const FIGURES = {
  views: figure(Metric.VIEWS, "Views", count, "more"),
  viewers: figure(Metric.UNIQUE_VIEWERS, "Known viewers", count, "more"),
  watched: figure(Metric.WATCH_SECONDS, "Watch time", span, "more"),
  startup: figure(Metric.STARTUP_MS_P50, "Startup, median", milliseconds, "less", "Startup"),
  slowStartup: figure(Metric.STARTUP_MS_P95, "Startup, 95th percentile", milliseconds, "less", "Startup p95"),
  rebuffering: figure(Metric.REBUFFER_RATIO, "Rebuffering", percent, "less"),
  failures: figure(Metric.FAILURE_RATIO, "Failures", percent, "less"),
  exits: figure(Metric.EXIT_BEFORE_START_RATIO, "Exits before start", percent, "less", "Exits"),
  bitrate: figure(Metric.AVERAGE_BITRATE_KBPS, "Bitrate", kilobits, "more"),
  score: figure(Metric.SCORE, "Score", score, "more"),
} as const;

export type FigureName = keyof typeof FIGURES;

/** Dimensions that the page tells apart, by the words that its address uses. */
export const DIMENSIONS = {
  video: { dimension: Dimension.VIDEO, label: "Video" },
  country: { dimension: Dimension.COUNTRY, label: "Country" },
  device: { dimension: Dimension.DEVICE, label: "Device" },
  cdn: { dimension: Dimension.CDN, label: "CDN" },
  rendition: { dimension: Dimension.RENDITION, label: "Rendition" },
  player: { dimension: Dimension.PLAYER_VERSION, label: "Player version" },
  experiment: { dimension: Dimension.EXPERIMENT, label: "Experiment" },
} as const;

export type DimensionName = keyof typeof DIMENSIONS;

/** Return all dimensions with their names. */
export function dimensions() {
  return Object.entries(DIMENSIONS) as [DimensionName, (typeof DIMENSIONS)[DimensionName]][];
}

/** Return true for a word that names a dimension. */
export function isDimension(word: string | null | undefined): word is DimensionName {
  return word !== null && word !== undefined && Object.hasOwn(DIMENSIONS, word);
}

const countries = new Intl.DisplayNames(undefined, { type: "region" });

/** Write a value of a dimension for people; `titles` are those of videos, by resource name. */
export function valueName(name: DimensionName, value: string, titles: ReadonlyMap<string, string>): string {
  if (name === "video") {
    return titles.get(value) ?? value.slice(value.lastIndexOf("/") + 1);
  }
  if (value === "") {
    return EMPTY[name];
  }
  if (name === "country") {
    return /^[A-Z]{2}$/.test(value) ? (countries.of(value) ?? value) : value;
  }
  return name === "device" ? value.charAt(0).toUpperCase() + value.slice(1) : value;
}

const EMPTY: Record<DimensionName, string> = {
  video: "Unknown",
  country: "Unknown",
  device: "Unknown",
  cdn: "This installation",
  rendition: "Not started",
  player: "Unknown",
  experiment: "In none",
};

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const NOTHING = "–";

/** Write a number of things. */
export function count(value: number): string {
  return Number.isFinite(value) ? compact.format(Math.round(value)) : NOTHING;
}

/** Write a part of 1 in percent, with as many digits as say something. */
export function percent(value: number): string {
  if (!Number.isFinite(value)) {
    return NOTHING;
  }
  const part = 100 * value;
  return `${part.toFixed(part === 0 || part >= 10 ? 0 : part >= 1 ? 1 : 2)} %`;
}

/** Write milliseconds. */
export function milliseconds(value: number): string {
  if (!Number.isFinite(value)) {
    return NOTHING;
  }
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

/** Write seconds of watching. */
export function span(value: number): string {
  if (!Number.isFinite(value)) {
    return NOTHING;
  }
  if (value < 60) {
    return `${Math.round(value)} s`;
  }
  return value < 3600 ? `${Math.round(value / 60)} min` : `${compact.format(value / 3600)} h`;
}

/** Write kbit/s. */
export function kilobits(value: number): string {
  if (!Number.isFinite(value)) {
    return NOTHING;
  }
  return value < 1000 ? `${Math.round(value)} kbit/s` : `${(value / 1000).toFixed(1)} Mbit/s`;
}

/** Write a score of 0 to 100. */
export function score(value: number): string {
  return Number.isFinite(value) ? value.toFixed(value > 99.95 ? 0 : 1) : NOTHING;
}

/** Write a second of a video. */
export const second = clock;

/** How a value compares with the one of the time before: in percent, and whether that is good. */
export interface Change {
  text: string;
  /** Undefined where nothing has changed. */
  good: boolean | undefined;
}

/** Compare a figure with what it was; undefined where there is nothing to compare with. */
export function change(figure: Figure, now: number, before: number): Change | undefined {
  if (!Number.isFinite(now) || !Number.isFinite(before) || before === 0) {
    return undefined;
  }
  const part = now / before - 1;
  const rounded = Math.round(100 * part);
  if (rounded === 0) {
    return { text: "as before", good: undefined };
  }
  const good = part > 0 === (figure.better === "more");
  return { text: `${part > 0 ? "▲" : "▼"} ${count(Math.abs(rounded))} %`, good };
}
