import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import type { Clients } from "../api/clients";
import {
  QueryMetricsResponseSchema,
  type WatchConcurrentsResponse,
  WatchConcurrentsResponseSchema,
} from "../gen/reelmesh/analytics/v1/analytics_service_pb";
import { Dimension, Granularity, Metric } from "../gen/reelmesh/analytics/v1/report_pb";
import { change, FIGURES, kilobits, milliseconds, percent, score, span, valueName } from "./figures";
import { watchConcurrents } from "./live";
import { Reports, series, values } from "./reports";
import { Titles } from "./titles";
import { type AnalyticsView, before, readView, times, writeView } from "./view";

const NOW = Date.UTC(2026, 10, 26, 20, 41, 12);
const VIDEO = "organizations/default/videos/0192f0c1-0000-7000-8000-000000000001";
const VIEW: AnalyticsView = {
  range: "24h",
  days: undefined,
  filters: [],
  by: "video",
  sort: "views",
  ascending: false,
  video: undefined,
};

describe("the address of the analytics page", () => {
  it("says what is shown, and is read back", () => {
    const views: AnalyticsView[] = [
      VIEW,
      { ...VIEW, range: undefined, days: { first: "2026-11-01", last: "2026-11-26" }, sort: undefined },
      {
        ...VIEW,
        range: "7d",
        by: "experiment",
        sort: "score",
        ascending: true,
        video: VIDEO,
        filters: [
          { name: "country", value: "DE" },
          { name: "experiment", value: "ladder:low & slow" },
          { name: "cdn", value: "" },
        ],
      },
    ];
    expect(views.map((view) => readView(writeView(view)))).toEqual(views);
  });

  it("shows the usual where it says nothing, or nothing that is known", () => {
    expect(readView("")).toEqual(VIEW);
    expect(readView("?range=1y&by=shoe&sort=size&filter=shoe:43&first=2026-13-01&last=x")).toEqual(VIEW);
    expect(readView("?first=2026-11-02&last=2026-11-01")).toEqual(VIEW);
  });
});

describe("times", () => {
  it("end with the step that now is in, and begin a span before", () => {
    const time = times({ range: "24h", days: undefined }, NOW);
    expect(time).toMatchObject({ step: 3_600_000, granularity: Granularity.HOUR });
    expect(new Date(time.start).toISOString()).toBe("2026-11-25T20:00:00.000Z");
    expect(new Date(time.end).toISOString()).toBe("2026-11-26T21:00:00.000Z");
    const earlier = before(time);
    expect([earlier.end, earlier.end - earlier.start]).toEqual([time.start, time.end - time.start]);
  });

  it("take minutes for hours, hours for days and days for months", () => {
    const granularities = (["1h", "6h", "24h", "7d", "28d"] as const).map(
      (range) => times({ range, days: undefined }, NOW).granularity,
    );
    const { MINUTE, HOUR, DAY } = Granularity;
    expect(granularities).toEqual([MINUTE, MINUTE, HOUR, HOUR, DAY]);
  });

  it("hold both days that are chosen", () => {
    const time = times({ range: undefined, days: { first: "2026-11-01", last: "2026-11-02" } }, NOW);
    expect(time.end - time.start).toBe(2 * 86_400_000);
  });
});

describe("reports", () => {
  const row = (metric: Metric, value: number) => ({
    values: Object.values(FIGURES).map((figure) => (figure.metric === metric ? value : Number.NaN)),
  });

  it("are nothing where nothing happened, and unknown where nothing was measured", () => {
    const none = values(undefined);
    expect([none.views, none.watched]).toEqual([0, 0]);
    expect([none.startup, none.score]).toEqual([Number.NaN, Number.NaN]);
  });

  it("stand at their step, with gaps where there is no row", () => {
    const time = times({ range: "1h", days: undefined }, NOW);
    const at = (step: number) => timestampFromMs(time.start + step * time.step);
    const found = series(
      [
        { startTime: at(2), ...row(Metric.VIEWS, 7) },
        { startTime: at(4), ...row(Metric.SCORE, 88) },
      ],
      time,
    );
    expect(found.x).toHaveLength(61);
    expect(found.x[1]).toBe(time.start / 1000 + 60);
    expect(found.values.views.slice(0, 4)).toEqual([0, 0, 7, 0]);
    expect(found.values.score.slice(3, 6)).toEqual([null, 88, null]);
  });

  it("ask for one filter per dimension, sorted by the server, page by page", async () => {
    const queryMetrics = vi.fn(async (_request: unknown) =>
      create(QueryMetricsResponseSchema, {
        rows: [{ dimensions: ["DE"], ...row(Metric.VIEWS, 3) }],
        nextPageToken: "more",
      }),
    );
    const client = { queryMetrics } as unknown as Clients["analytics"];
    const reports = new Reports(client, new AbortController().signal);
    const filters = [
      { name: "device", value: "tv" },
      { name: "device", value: "mobile" },
      { name: "cdn", value: "edge" },
    ] as const;
    const view: AnalyticsView = { ...VIEW, by: "country", sort: "rebuffering", ascending: true, filters };
    const breakdown = await reports.breakdown(view, times(view, NOW), "here");
    expect(breakdown).toMatchObject({ rows: [{ value: "DE", figures: { views: 3 } }], next: "more" });
    expect(queryMetrics.mock.calls[0]?.[0]).toMatchObject({
      groupBy: [Dimension.COUNTRY],
      orderBy: Metric.REBUFFER_RATIO,
      ascending: true,
      pageToken: "here",
      granularity: Granularity.UNSPECIFIED,
      filters: [
        { dimension: Dimension.DEVICE, values: ["tv", "mobile"] },
        { dimension: Dimension.CDN, values: ["edge"] },
      ],
    });
  });
});

describe("live viewings", () => {
  const counted = (viewings: number) =>
    create(WatchConcurrentsResponseSchema, { viewings: BigInt(viewings) });

  it("are taken up again when the stream breaks, and said to be unknown until then", async () => {
    const streams: (WatchConcurrentsResponse | Error)[][] = [
      [counted(3), new ConnectError("away", Code.Unavailable)],
      [counted(4)],
    ];
    const page = new AbortController();
    const watchConcurrentsCall = async function* () {
      for (const each of streams.shift() ?? []) {
        if (each instanceof Error) {
          throw each;
        }
        yield each;
      }
    };
    const client = { watchConcurrents: watchConcurrentsCall } as unknown as Clients["analytics"];
    const heard: (number | undefined)[] = [];
    for await (const live of watchConcurrents(client, page.signal)) {
      heard.push(live && Number(live.viewings));
      if (heard.length === 3) {
        break;
      }
    }
    expect(heard).toEqual([3, undefined, 4]);
  });

  it("end with an error that stays", async () => {
    const client = {
      watchConcurrents: () => {
        throw new ConnectError("not yours", Code.PermissionDenied);
      },
    } as unknown as Clients["analytics"];
    await expect(watchConcurrents(client, new AbortController().signal).next()).rejects.toThrow("not yours");
  });
});

describe("titles", () => {
  it("are asked for once, and fall back on the id of a video that is gone", async () => {
    const other = VIDEO.replace(/1$/, "2");
    const listVideos = vi.fn(async () => ({ videos: [{ name: VIDEO, title: "A film" }] }));
    const getVideo = vi.fn(async () => {
      throw new ConnectError("gone", Code.NotFound);
    });
    const titles = new Titles({ listVideos, getVideo } as unknown as Clients["videos"]);
    const { signal } = new AbortController();
    await titles.learn([VIDEO, other], signal);
    await titles.learn([VIDEO, other], signal);
    expect(listVideos).toHaveBeenCalledTimes(1);
    expect(getVideo).toHaveBeenCalledTimes(1);
    expect([VIDEO, other].map((name) => valueName("video", name, titles.known))).toEqual([
      "A film",
      "0192f0c1-0000-7000-8000-000000000002",
    ]);
  });
});

describe("figures", () => {
  it("are written for people", () => {
    expect([0, 0.0004, 0.0321, 0.5, Number.NaN].map(percent)).toEqual([
      "0 %",
      "0.04 %",
      "3.2 %",
      "50 %",
      "–",
    ]);
    expect([431.4, 2345, 61_000].map(milliseconds)).toEqual(["431 ms", "2.35 s", "61.0 s"]);
    expect([12, 600, 5400, 7_200_000].map(span)).toEqual(["12 s", "10 min", "1.5 h", "2K h"]);
    expect([820.4, 4312].map(kilobits)).toEqual(["820 kbit/s", "4.3 Mbit/s"]);
    expect([100, 87.654].map(score)).toEqual(["100", "87.7"]);
    expect(valueName("country", "DE", new Map())).toBe("Germany");
    expect(valueName("cdn", "", new Map())).toBe("This installation");
  });

  it("are compared, and said to be better or worse", () => {
    expect(change(FIGURES.views, 150, 100)).toEqual({ text: "▲ 50 %", good: true });
    expect(change(FIGURES.failures, 0.02, 0.01)).toEqual({ text: "▲ 100 %", good: false });
    expect(change(FIGURES.startup, 500, 1000)).toEqual({ text: "▼ 50 %", good: true });
    expect(change(FIGURES.views, 1000, 1001)).toEqual({ text: "as before", good: undefined });
    expect(change(FIGURES.views, 5, 0)).toBeUndefined();
  });
});
