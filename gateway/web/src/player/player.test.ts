import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bytes, clock, duration, seconds } from "../ui/format";
import { type ControlsActions, type ControlsState, keyPressed } from "./controls";
import { reportProgress } from "./progress";

class FakeVideo extends EventTarget {
  currentTime = 0;
  paused = false;
}

describe("telling progress", () => {
  let video: FakeVideo;
  let told: [number, boolean][];
  let stop: () => void;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("window", new EventTarget());
    video = new FakeVideo();
    told = [];
    stop = report();
  });

  function report(): () => void {
    return reportProgress(video as unknown as HTMLVideoElement, 0, (position, last) =>
      told.push([position, last]),
    );
  }

  afterEach(() => {
    stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("tells every ten seconds while playing", () => {
    video.currentTime = 9;
    vi.advanceTimersByTime(10_000);
    video.currentTime = 19;
    vi.advanceTimersByTime(10_000);
    video.paused = true;
    video.currentTime = 29;
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual([
      [9, false],
      [19, false],
    ]);
  });

  it("tells where somebody went before it played", () => {
    stop();
    video.currentTime = 12;
    stop = report();
    stop();
    expect(told).toEqual([[12, true]]);
  });

  it("tells at a pause, and when the page is left, but nothing twice", () => {
    video.currentTime = 5;
    video.dispatchEvent(new Event("pause"));
    video.dispatchEvent(new Event("ended"));
    window.dispatchEvent(new Event("pagehide"));
    video.currentTime = 6;
    window.dispatchEvent(new Event("pagehide"));
    expect(told).toEqual([
      [5, false],
      [6, true],
    ]);
  });

  it("tells a last time when it is ended, and is silent then", () => {
    video.currentTime = 4;
    stop();
    video.currentTime = 5;
    video.dispatchEvent(new Event("pause"));
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual([[4, true]]);
  });
});

describe("keys", () => {
  it("act as in other players", () => {
    const state = { position: 20 } as ControlsState;
    const actions = { toggle: vi.fn(), seek: vi.fn(), mute: vi.fn(), fullscreen: vi.fn() };
    const press = (key: string) => keyPressed(key, state, actions as unknown as ControlsActions);
    expect([" ", "k", "ArrowLeft", "m", "f", "x"].map(press)).toEqual([true, true, true, true, true, false]);
    expect(actions.toggle).toHaveBeenCalledTimes(2);
    expect(actions.seek).toHaveBeenCalledWith(15);
  });
});

describe("format", () => {
  it("writes times", () => {
    expect([0, 65.9, 7389, Number.NaN].map(clock)).toEqual(["0:00", "1:05", "2:03:09", "0:00"]);
  });

  it("writes sizes", () => {
    expect([0, 1023, 1536, 8 << 20, 3 * 2 ** 30].map(bytes)).toEqual([
      "0 B",
      "1023 B",
      "2 KiB",
      "8.0 MiB",
      "3.0 GiB",
    ]);
  });

  it("turns seconds into a Duration and back", () => {
    expect(duration(1.25)).toEqual({ seconds: 1n, nanos: 250_000_000 });
    expect(seconds({ $typeName: "google.protobuf.Duration", ...duration(61.5) })).toBe(61.5);
  });
});
