import { whole } from "./measured";
import type { Details } from "./observation";

interface Totals {
  watch: number;
  stall: number;
  stalls: number;
  switches: number;
  dropped: number;
  bytes: number;
  upscaled: number;
}

const NONE: Readonly<Totals> = {
  watch: 0,
  stall: 0,
  stalls: 0,
  switches: 0,
  dropped: 0,
  bytes: 0,
  upscaled: 0,
};

/** What is counted of a viewing: in all, and since the event before. */
export class Counters {
  readonly #totals: Totals = { ...NONE };
  #reported: Totals = { ...NONE };
  /** Position where the watching since the event before began, seconds. */
  #watchedFrom: number | undefined;

  /** What was watched since the event before, milliseconds. */
  get unreported(): number {
    return this.#totals.watch - this.#reported.watch;
  }

  /** So many milliseconds were watched from a position on, in seconds; `upscaled` where the picture was stretched. */
  watched(milliseconds: number, from: number, upscaled: boolean): void {
    this.#watchedFrom ??= from;
    this.#totals.watch += milliseconds;
    if (upscaled) {
      this.#totals.upscaled += milliseconds;
    }
  }

  /** A stall went on for so many milliseconds. */
  stalled(milliseconds: number): void {
    this.#totals.stall += milliseconds;
  }

  /** A stall has begun. */
  stallBegan(): void {
    this.#totals.stalls += 1;
  }

  /** Another rendition is shown. */
  switched(): void {
    this.#totals.switches += 1;
  }

  /** Return all of it for an event; what comes after is the next one's. */
  report({ droppedFrames, mediaBytes }: Pick<Details, "droppedFrames" | "mediaBytes">) {
    this.#totals.dropped = Math.max(this.#totals.dropped, droppedFrames);
    this.#totals.bytes = Math.max(this.#totals.bytes, mediaBytes);
    const counted = this.#counted();
    this.#reported = { ...this.#totals };
    this.#watchedFrom = undefined;
    return counted;
  }

  #counted() {
    const [now, then] = [this.#totals, this.#reported];
    // Totals are rounded, and what was added is the difference of two that are: so the two agree to the millisecond.
    const added = (counter: keyof Totals) => whole(now[counter]) - whole(then[counter]);
    return {
      watchMs: added("watch"),
      stallMs: added("stall"),
      stalls: added("stalls"),
      switches: added("switches"),
      droppedFrames: added("dropped"),
      mediaBytes: added("bytes"),
      upscaledMs: added("upscaled"),
      watchTotalMs: whole(now.watch),
      stallTotalMs: whole(now.stall),
      stallsTotal: whole(now.stalls),
      switchesTotal: whole(now.switches),
      droppedFramesTotal: whole(now.dropped),
      mediaBytesTotal: whole(now.bytes),
      upscaledTotalMs: whole(now.upscaled),
      watchedFromMs: whole(1000 * (this.#watchedFrom ?? 0)),
    };
  }
}
