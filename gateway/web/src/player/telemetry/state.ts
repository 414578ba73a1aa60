import { PlayerState } from "../../gen/reelmesh/telemetry/v1/event_pb";

/** A position has moved when it has by this, in seconds: what was decoded is still shown when the buffer runs out. */
const MOVED = 0.1;

/**
 * The state that a player is in, by what was heard of it last: a stall ends when the position moves, whatever event a
 * browser sends first.
 */
export class Playback {
  #started = false;
  #playingSince: number | undefined;
  #failed = false;

  #paused = false;
  #atEnd = false;
  /** The buffer ran out, by the video element and by Shaka Player; either is enough. */
  #waiting = false;
  #buffering = false;
  /** Position, in seconds, that must be left before anything goes on: of the stall, the jump or the start. */
  #held = 0;
  /** A stall is one, though it is paused in between. */
  #stalled = false;
  /** After a jump nothing is a stall until the picture moves again. */
  #seeking = false;
  #landed = false;

  get state(): PlayerState {
    if (this.#failed) {
      return PlayerState.FATAL;
    }
    if (this.#atEnd) {
      return PlayerState.ENDED;
    }
    if (!this.#started || this.#playingSince === undefined) {
      return PlayerState.STARTING; // a first frame that stands still is not watched yet
    }
    if (this.#seeking) {
      return PlayerState.SEEKING;
    }
    if (this.#paused) {
      return PlayerState.PAUSED;
    }
    return this.#waiting || this.#buffering ? PlayerState.REBUFFERING : PlayerState.PLAYING;
  }

  /** True once the first frame was shown. */
  get started(): boolean {
    return this.#started;
  }

  /** When there was enough to play on for the first time, as the caller's clock tells it. */
  get playingSince(): number | undefined {
    return this.#playingSince;
  }

  get seeking(): boolean {
    return this.#seeking;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** The first frame was shown, at this position. */
  start(position: number): void {
    this.#started = true;
    this.#held = position;
    this.#calm();
  }

  play(): void {
    this.#paused = false;
    this.#atEnd = false;
  }

  pause(): void {
    this.#paused = true;
  }

  /** There is enough to play on. */
  playing(now: number): void {
    this.#playingSince ??= now;
    this.#paused = false;
    this.#waiting = false;
    this.#settle();
  }

  /** The buffer ran out at this position. */
  waiting(position: number): void {
    this.#waiting = !this.#seeking;
    this.#held = position;
  }

  /** Shaka Player stopped to fill its buffer, or goes on. */
  buffering(on: boolean): void {
    this.#buffering = on && !this.#seeking;
  }

  /** True while a position is still the one that must be left. */
  holds(position: number): boolean {
    return Math.abs(position - this.#held) < MOVED;
  }

  /** The position moves. */
  moves(): void {
    this.#waiting = false;
    this.#settle();
  }

  /** The player jumped over a gap by itself. */
  shift(by: number): void {
    this.#held += by;
  }

  /** The viewer jumped to a position. */
  jump(to: number): void {
    this.#seeking = true;
    this.#landed = false;
    this.#atEnd = false;
    this.#calm();
    this.#held = to;
  }

  /** The jump has arrived. */
  land(): void {
    this.#landed = true;
    if (this.#paused) {
      this.#settle();
    }
  }

  end(): void {
    this.#atEnd = true;
    this.#paused = true;
    this.#calm();
  }

  fail(): void {
    this.#failed = true;
  }

  /** True once for every stall. */
  newStall(): boolean {
    const { state } = this;
    const first = state === PlayerState.REBUFFERING && !this.#stalled;
    if (first) {
      this.#stalled = true;
    } else if (state === PlayerState.PLAYING) {
      this.#stalled = false;
    }
    return first;
  }

  /** The picture moves again after a jump. */
  #settle(): void {
    if (this.#landed) {
      this.#seeking = false;
      this.#landed = false;
      this.#calm();
    }
  }

  /** No buffer has run out. */
  #calm(): void {
    this.#waiting = false;
    this.#buffering = false;
    this.#stalled = false;
  }
}
