import type { ChartData } from "./chart";
import { count, FIGURES, type FigureName, percent } from "./figures";
import type { Series } from "./reports";
import type { Times } from "./view";

/** Return the charts of figures over time, with that of who watches now among them. */
export function figureCharts(series: Series, time: Times, concurrents: ChartData): ChartData[] {
  const shared = { x: series.x, sync: "analytics", ...timeAxis(time) };
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
    concurrents,
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

/** The x axis of a time: days are those of UTC, what is shorter is the reader's own. */
function timeAxis({ step }: Times): Pick<ChartData, "axis" | "formatX"> {
  if (step >= 86_400_000) {
    return {
      axis: "utc",
      formatX: (x) => new Date(x * 1000).toLocaleDateString(undefined, { timeZone: "UTC" }),
    };
  }
  return {
    axis: "local",
    formatX: (x) => new Date(x * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" }),
  };
}
