import { timestampMs } from "@bufbuild/protobuf/wkt";
import { html, nothing } from "lit";
import type { WatchConcurrentsResponse } from "../gen/reelmesh/analytics/v1/analytics_service_pb";
import type { ChartData } from "./chart";
import { count, valueName } from "./figures";

/** How long live viewings stay in their chart, in milliseconds. */
const LIVE = 10 * 60_000;

/** Seconds since 1970 and viewings. */
export type Point = [number, number];

/** Return the points of the chart with what was counted now. */
export function withCounted(points: readonly Point[], live: WatchConcurrentsResponse): Point[] {
  const at = live.time ? timestampMs(live.time) : Date.now();
  const since = (at - LIVE) / 1000;
  const point: Point = [at / 1000, Number(live.viewings)];
  return [...points.filter(([time]) => time > since && time < point[0]), point];
}

/** How many watch now, in words. */
export function watchingNow(live: WatchConcurrentsResponse | undefined, connected: boolean) {
  if (live === undefined) {
    return nothing;
  }
  return html`<p class="live">
    <span class="dot" ?data-connected=${connected}></span>
    <strong class="viewings">${Number(live.viewings)}</strong> watching now${connected ? "" : ", connecting again…"}
  </p>`;
}

/** How many watched lately. */
export function concurrentsChart(
  points: readonly Point[],
  live: WatchConcurrentsResponse | undefined,
  titles: ReadonlyMap<string, string>,
): ChartData {
  const title = (video: string) => valueName("video", video, titles);
  const most = live?.videos.slice(0, 3).map(({ video, viewings }) => `${title(video)} ${viewings}`);
  return {
    title: "Watching now",
    note: most?.join(" · ") || "Viewings that were heard of in the last 45 seconds.",
    x: points.map(([time]) => time),
    axis: "local",
    formatX: (x) => new Date(x * 1000).toLocaleTimeString(),
    lines: [
      { label: "Viewings", color: "good", kind: "area", values: points.map(([, viewings]) => viewings) },
    ],
    format: count,
  };
}
