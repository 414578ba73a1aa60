import { create, fromJsonString } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EventType } from "../../gen/reelmesh/telemetry/v1/event_pb";
import {
  ReportRequestSchema,
  ReportResponseSchema,
} from "../../gen/reelmesh/telemetry/v1/telemetry_service_pb";
import { EventLog } from "../events";
import { maxHeight } from "../experiments";
import { Reporter, type Telemetry } from "./reporter";

class FakeVideo extends EventTarget {
  currentTime = 0;
  playbackRate = 1;
  ended = false;
  videoWidth = 640;
  videoHeight = 360;
  clientWidth = 1280;
  clientHeight = 1000;
  frames: (() => void)[] = [];

  requestVideoFrameCallback(heard: () => void): void {
    this.frames.push(heard);
  }

  fire(...types: string[]): void {
    for (const type of types) {
      this.dispatchEvent(new Event(type));
    }
  }
}

describe("the reporter", () => {
  let video: FakeVideo;
  let beacons: string[];
  let details: () => ReturnType<ConstructorParameters<typeof Reporter>[0]["details"]>;
  let page: EventTarget;
  let shown: EventTarget & { visibilityState: string };
  const report = vi.fn(async () =>
    create(ReportResponseSchema, { sampled: true, serverTimeMs: BigInt(Date.now()) }),
  );

  beforeEach(() => {
    vi.useFakeTimers({ now: 1_790_000_000_000 });
    [video, beacons] = [new FakeVideo(), []];
    page = Object.assign(new EventTarget(), { devicePixelRatio: 2 });
    shown = Object.assign(new EventTarget(), { visibilityState: "visible" });
    vi.stubGlobal("window", page);
    vi.stubGlobal("document", shown);
    vi.stubGlobal("navigator", {
      sendBeacon: (_: string, body: Blob) => {
        void body.text().then((text) => beacons.push(text));
        return true;
      },
    });
    report.mockClear();
    details = () => ({
      bitrate: 1_000_000,
      topBitrate: 2_000_000,
      buffer: 5,
      throughput: 4_000_000,
      droppedFrames: 0,
      mediaBytes: 1000,
      cdn: "",
    });
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const reporter = () =>
    new Reporter(
      {
        video: video as unknown as HTMLVideoElement,
        log: new EventLog(),
        player: { name: "reelmesh-web", version: "9" },
        consent: () => "anonymous",
        details: () => details(),
      },
      {
        token: "T",
        uri: "/beacon",
        session: "S",
        service: { report } as unknown as Telemetry["service"],
        renew: async () => ({ token: "T", uri: "/beacon" }),
      },
    );

  it("hears a video element, and tells the end by a beacon that says who speaks", async () => {
    const reports = reporter();
    reports.asked(performance.now() - 200);
    vi.advanceTimersByTime(300);
    video.fire("play");
    video.frames[0]?.();
    video.fire("playing");
    for (let quarter = 0; quarter < 8; quarter += 1) {
      vi.advanceTimersByTime(250);
      video.currentTime += 0.25;
      video.fire("timeupdate");
    }
    video.ended = true;
    video.fire("pause");
    video.ended = false;
    page.dispatchEvent(new Event("pagehide"));
    shown.visibilityState = "hidden";
    shown.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(0);
    expect(beacons).toHaveLength(1);
    const told = fromJsonString(ReportRequestSchema, beacons[0] ?? "");
    expect(told).toMatchObject({
      token: "T",
      session: "S",
      client: { player: "reelmesh-web", playerVersion: "9" },
    });
    expect(told.events.map(({ type }) => EventType[type])).toEqual([
      "REQUESTED",
      "STARTED",
      "STATE_CHANGED",
      "ENDED",
    ]);
    expect(told.events[1]?.startupMs).toBe(500n);
    // 640 by 360 in a place of 1280 by 720, on a screen of two pixels each: four times larger than it is.
    expect(told.events[3]).toMatchObject({ watchTotalMs: 2000n, upscaledTotalMs: 2000n, rendition: "360p" });
  });

  it("beats every ten seconds until it is ended", async () => {
    const reports = reporter();
    reports.asked(performance.now());
    await vi.advanceTimersByTimeAsync(35_000);
    reports.end();
    await vi.advanceTimersByTimeAsync(60_000);
    const sent = report.mock.calls.flatMap(
      (call) => (call as unknown as [{ events: { type: EventType }[] }])[0].events,
    );
    expect(sent.map(({ type }) => EventType[type])).toEqual([
      "REQUESTED",
      "HEARTBEAT",
      "HEARTBEAT",
      "HEARTBEAT",
      "EXITED_BEFORE_START",
    ]);
  });

  it("stops, and lets the video play, when something is wrong with itself", () => {
    const complaints = vi.spyOn(console, "error").mockImplementation(() => undefined);
    details = () => {
      throw new Error("broken");
    };
    const reports = reporter();
    reports.asked(performance.now());
    video.fire("play", "playing", "timeupdate");
    expect(() => video.frames[0]?.()).not.toThrow();
    reports.end();
    expect(complaints).toHaveBeenCalledTimes(1);
    complaints.mockRestore();
  });
});

describe("experiments", () => {
  it("may cap the height of the picture; the least of several holds", () => {
    const arm = (parameters: Record<string, string>) => ({ experiment: "e", arm: "a", parameters });
    const heights = [
      [],
      [arm({ other: "1" })],
      [arm({ max_height: "720" }), arm({ max_height: "480" })],
      [arm({ max_height: "tall" })],
    ].map((experiments) => maxHeight({ experiments } as unknown as Parameters<typeof maxHeight>[0]));
    expect(heights).toEqual([undefined, undefined, 480, undefined]);
  });
});
