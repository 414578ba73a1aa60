import { beforeEach, describe, expect, it } from "vitest";
import { EventType, PlayerState } from "../../gen/reelmesh/telemetry/v1/event_pb";
import type { Measured } from "./measured";
import { Measuring } from "./measuring";

const START = 1_790_000_000_000;

/** A video element and its viewer, in a time of its own. */
class Viewing {
  now = 5_000;
  position = 0;
  rate = 1;
  height = 360;
  shownHeight = 360;
  bytes = 0;
  dropped = 0;
  events: Measured[] = [];
  readonly measuring = new Measuring(
    { now: () => this.now, wall: () => START + this.now },
    {
      glance: () => ({
        position: this.position,
        rate: this.rate,
        height: this.height,
        shownHeight: this.shownHeight,
      }),
      details: () => ({
        bitrate: 800_400,
        topBitrate: 2_500_000,
        buffer: 4.25,
        throughput: 3_000_000,
        droppedFrames: this.dropped,
        mediaBytes: this.bytes,
        cdn: "",
      }),
    },
    (event) => this.events.push(event),
  );

  /** Let time pass with a still picture. */
  wait(milliseconds: number): this {
    this.now += milliseconds;
    return this;
  }

  /** Let time pass while the picture moves, looked at four times a second as browsers do. */
  watch(milliseconds: number): this {
    for (let left = milliseconds; left > 0; left -= 250) {
      const step = Math.min(250, left);
      this.now += step;
      this.position += (step / 1000) * this.rate;
      this.measuring.moved();
    }
    return this;
  }

  begin(startup = 400): this {
    this.measuring.asked();
    this.wait(startup);
    this.measuring.play();
    this.measuring.frame();
    this.measuring.playing();
    return this;
  }

  seek(to: number, takes: number): this {
    this.position = to;
    this.measuring.seeking();
    this.measuring.waiting();
    this.wait(takes);
    this.measuring.seeked();
    this.measuring.playing();
    return this;
  }

  stall(milliseconds: number): this {
    this.measuring.waiting();
    this.wait(milliseconds);
    this.measuring.playing();
    return this;
  }

  /** What was told, as lines: type, state, watched, stalled. */
  get story(): string[] {
    return this.events.map(({ type, state, watchMs = 0n, stallMs = 0n }) =>
      [EventType[type], PlayerState[state ?? 0], watchMs, stallMs].join(" "),
    );
  }

  get last(): Measured {
    const event = this.events.at(-1);
    if (event === undefined) {
      throw new Error("nothing was told");
    }
    return event;
  }
}

let viewing: Viewing;

beforeEach(() => {
  viewing = new Viewing();
});

const STORIES: [string, (viewing: Viewing) => void, string[]][] = [
  [
    "a film that is watched and left",
    (v) => {
      v.begin().watch(4000);
      v.measuring.leave();
    },
    ["REQUESTED STARTING 0 0", "STARTED STARTING 0 0", "STATE_CHANGED PLAYING 0 0", "ENDED PLAYING 4000 0"],
  ],
  [
    "a page that is left before the first frame",
    (v) => {
      v.measuring.asked();
      v.wait(3000).measuring.leave();
    },
    ["REQUESTED STARTING 0 0", "EXITED_BEFORE_START STARTING 0 0"],
  ],
  [
    "a browser that wants a click first, and a viewer who does not click",
    (v) => {
      v.measuring.asked();
      v.measuring.refused();
      v.measuring.frame();
      v.measuring.beat();
      v.wait(60_000).measuring.leave();
    },
    [],
  ],
  [
    "a stall",
    (v) => {
      v.begin().watch(2000).stall(1500).watch(500);
      v.measuring.leave();
    },
    [
      "REQUESTED STARTING 0 0",
      "STARTED STARTING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "STATE_CHANGED REBUFFERING 2000 0",
      "STATE_CHANGED PLAYING 0 1500",
      "ENDED PLAYING 500 0",
    ],
  ],
  [
    "a first frame that stands still is no watching and no stall",
    (v) => {
      v.measuring.asked();
      v.wait(300).measuring.play();
      v.measuring.frame();
      v.measuring.waiting();
      v.wait(2000).measuring.playing();
      v.watch(1000).measuring.leave();
    },
    ["REQUESTED STARTING 0 0", "STARTED STARTING 0 0", "STATE_CHANGED PLAYING 0 0", "ENDED PLAYING 1000 0"],
  ],
  [
    "a jump into what is not buffered is no stall",
    (v) => {
      v.begin().watch(1000).seek(60, 800).watch(1000);
      v.measuring.leave();
    },
    [
      "REQUESTED STARTING 0 0",
      "STARTED STARTING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "STATE_CHANGED SEEKING 1000 0",
      "SEEKED SEEKING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "ENDED PLAYING 1000 0",
    ],
  ],
  [
    "a pause is neither watched nor a stall, also in the middle of one",
    (v) => {
      v.begin().watch(1000);
      v.measuring.waiting();
      v.wait(500).measuring.pause();
      v.wait(30_000).measuring.beat();
      v.measuring.play();
      v.wait(500).measuring.playing();
      v.watch(500).measuring.leave();
    },
    [
      "REQUESTED STARTING 0 0",
      "STARTED STARTING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "STATE_CHANGED REBUFFERING 1000 0",
      "STATE_CHANGED PAUSED 0 500",
      "STATE_CHANGED REBUFFERING 0 0",
      "STATE_CHANGED PLAYING 0 500",
      "ENDED PLAYING 500 0",
    ],
  ],
  [
    "an error that plays on, and one that does not",
    (v) => {
      v.begin().watch(250).measuring.error("1001");
      v.measuring.fail("3016");
      v.measuring.fail("3017");
      v.wait(10_000).measuring.beat();
      v.measuring.leave();
    },
    [
      "REQUESTED STARTING 0 0",
      "STARTED STARTING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "ERROR PLAYING 250 0",
      "FAILED FATAL 0 0",
    ],
  ],
  [
    "a presentation that cannot be loaded",
    (v) => {
      v.measuring.asked();
      v.wait(100).measuring.fail("1002");
      v.measuring.leave();
    },
    ["REQUESTED STARTING 0 0", "FAILED FATAL 0 0"],
  ],
  [
    "the end, and a second look from the start",
    (v) => {
      v.begin().watch(1000).measuring.ended();
      v.position = 0;
      v.measuring.seeking();
      v.measuring.play();
      v.measuring.seeked();
      v.measuring.playing();
      v.watch(500).measuring.leave();
      v.measuring.leave();
    },
    [
      "REQUESTED STARTING 0 0",
      "STARTED STARTING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "ENDED ENDED 1000 0",
      "STATE_CHANGED SEEKING 0 0",
      "SEEKED SEEKING 0 0",
      "STATE_CHANGED PLAYING 0 0",
      "HEARTBEAT PLAYING 500 0",
    ],
  ],
];

describe("what a viewing tells", () => {
  it.each(STORIES)("%s", (_, happens, told) => {
    happens(viewing);
    expect(viewing.story).toEqual(told);
  });

  it("numbers its events, and gives each an id that says its time", () => {
    viewing.begin().watch(500).measuring.beat();
    expect(viewing.events.map(({ sequence }) => sequence)).toEqual([0n, 1n, 2n, 3n]);
    expect(viewing.events.map(({ eventTimeMs }) => Number(eventTimeMs) - START)).toEqual([
      5000, 5400, 5400, 5900,
    ]);
    for (const { eventId, eventTimeMs } of viewing.events) {
      const time = [...eventId.slice(0, 6)].reduce((value, byte) => value * 256 + byte, 0);
      expect(BigInt(time)).toBe(eventTimeMs);
      expect((eventId[6] ?? 0) >> 4).toBe(7);
      expect((eventId[8] ?? 0) >> 6).toBe(2);
    }
  });

  it("measures startup from the asking to the first frame", () => {
    viewing.begin(731.6);
    expect(viewing.events[1]).toMatchObject({ type: EventType.STARTED, startupMs: 732n });
  });

  it("measures startup from the click where the browser wanted one", () => {
    viewing.measuring.asked();
    viewing.measuring.refused();
    viewing.wait(60_000);
    viewing.begin(90);
    expect(viewing.events[1]).toMatchObject({ type: EventType.STARTED, startupMs: 90n });
  });

  it("starts by the moving position where no frame is told, as in the background", () => {
    viewing.measuring.asked();
    viewing.wait(500).measuring.play();
    viewing.measuring.playing();
    viewing.watch(500);
    expect(viewing.events[1]).toMatchObject({ type: EventType.STARTED, startupMs: 500n });
  });

  it("ends a stall when the position moves, though the browser has not said so yet", () => {
    viewing.begin().watch(1000);
    viewing.measuring.waiting();
    viewing.wait(800);
    viewing.watch(500);
    expect(viewing.story.at(-1)).toBe("STATE_CHANGED PLAYING 0 1050");
  });

  it("counts adding and adding up alike", () => {
    viewing.begin().watch(1000.4).stall(333.3).watch(700.6);
    viewing.bytes = 5000;
    viewing.dropped = 3;
    viewing.measuring.beat();
    viewing.watch(1000.3).stall(100.3);
    viewing.bytes = 7000;
    viewing.measuring.leave();
    const sum = (counter: "watchMs" | "stallMs" | "stalls" | "mediaBytes" | "droppedFrames") =>
      viewing.events.reduce((total, event) => total + BigInt(event[counter] ?? 0), 0n);
    expect(viewing.last).toMatchObject({
      watchTotalMs: sum("watchMs"),
      stallTotalMs: sum("stallMs"),
      stallsTotal: 2n,
      mediaBytesTotal: 7000n,
      droppedFramesTotal: 3n,
    });
    expect([sum("stalls"), sum("mediaBytes"), sum("droppedFrames")]).toEqual([2n, 7000n, 3n]);
    expect(sum("stallMs")).toBe(434n);
  });

  it("says from where to where was watched, around a jump too", () => {
    viewing.begin().watch(2000).measuring.beat();
    viewing.watch(1000).seek(30, 200).watch(500);
    viewing.measuring.beat();
    const watched = viewing.events
      .filter(({ watchMs }) => watchMs)
      .map(({ watchedFromMs, positionMs }) => [watchedFromMs, positionMs]);
    expect(watched).toEqual([
      [0n, 2000n],
      [2000n, 3000n],
      [30_000n, 30_500n],
    ]);
    expect(viewing.events.find(({ type }) => type === EventType.SEEKED)?.positionMs).toBe(30_000n);
  });

  it("counts the time of the wall clock at other speeds, and the media that went by", () => {
    viewing.begin();
    viewing.rate = 2;
    viewing.watch(3000).measuring.beat();
    expect(viewing.last).toMatchObject({ watchMs: 3000n, positionMs: 6000n, playbackRate: 2 });
  });

  it("does not count the sleep of a machine", () => {
    viewing.begin().watch(1000).wait(3_600_000);
    viewing.watch(250).measuring.beat();
    expect(Number(viewing.last.watchTotalMs)).toBeLessThan(2600);
  });

  it("counts a change of rendition when it is seen, and none at the start", () => {
    viewing.height = 0;
    viewing.measuring.asked();
    viewing.height = 240;
    viewing.measuring.resized();
    viewing.begin().watch(500);
    viewing.height = 720;
    viewing.measuring.resized();
    viewing.measuring.resized();
    expect(viewing.last).toMatchObject({
      type: EventType.RENDITION_CHANGED,
      switches: 1n,
      switchesTotal: 1n,
      rendition: "720p",
      height: 720n,
      bitrateKbps: 800n,
      topBitrateKbps: 2500n,
      bufferMs: 4250n,
      throughputKbps: 3000n,
    });
  });

  it("counts how long the picture was shown larger than it is", () => {
    viewing.begin().watch(1000);
    viewing.shownHeight = 1080;
    viewing.watch(750).measuring.beat();
    expect(viewing.last).toMatchObject({ watchMs: 1750n, upscaledMs: 750n, upscaledTotalMs: 750n });
  });

  it("takes a small jump for the player's own, and a stall for going on over it", () => {
    viewing.begin().watch(1000);
    viewing.measuring.waiting();
    viewing.wait(1000);
    viewing.position += 0.2;
    viewing.measuring.seeking();
    viewing.measuring.moved();
    viewing.wait(1000).measuring.seeked();
    viewing.measuring.playing();
    expect(viewing.story.slice(3)).toEqual([
      "STATE_CHANGED REBUFFERING 1000 0",
      "STATE_CHANGED PLAYING 0 2000",
    ]);
    expect(viewing.last.stallsTotal).toBe(1n);
  });

  it("tells what there is when the page is hidden, and does so once after the end", () => {
    viewing.begin().watch(1000).measuring.hidden();
    expect(viewing.story.at(-1)).toBe("HEARTBEAT PLAYING 1000 0");
    viewing.measuring.leave();
    const { length } = viewing.events;
    viewing.measuring.hidden();
    expect(viewing.events).toHaveLength(length);
  });
});
