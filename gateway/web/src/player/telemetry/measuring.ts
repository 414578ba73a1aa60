import { uuid7 } from "../../api/ids";
import { EventType, PlayerState, type TelemetryEvent } from "../../gen/reelmesh/telemetry/v1/event_pb";

/** An event as the contract writes it. */
export type Measured = Pick<TelemetryEvent, "eventId" | "eventTimeMs" | "sequence" | "type"> &
  Partial<Omit<TelemetryEvent, "$typeName" | "$unknown">>;

/** What counts durations, and what tells the time. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  /** Milliseconds since 1970, by whatever this machine believes. */
  wall(): number;
}

/** What is asked for many times a second. */
export interface Glance {
  /** Position in the media, seconds. */
  position: number;
  /** Speed of playback, 1 being normal; 0 while Shaka Player holds it. */
  rate: number;
  /** Height of the picture that is played, in pixels; 0 where there is none. It names the rendition. */
  height: number;
  /** Height of what the viewer sees of it, in pixels of the screen. */
  shownHeight: number;
}

/** What is asked for when there is an event. */
export interface Details {
  /** Encoded bitrate of what is played, and the highest on offer, bits per second. */
  bitrate: number;
  topBitrate: number;
  /** Media buffered ahead, seconds. */
  buffer: number;
  /** Throughput as the player estimates it, bits per second. */
  throughput: number;
  /** Frames dropped, and bytes of media received, since the presentation was loaded. */
  droppedFrames: number;
  mediaBytes: number;
  /** Name of what the media comes from; empty for the page's own host. */
  cdn: string;
}

/** Where a viewing is looked at. */
export interface Looks {
  glance(): Glance;
  details(): Details;
}

interface Counters {
  watch: number;
  stall: number;
  stalls: number;
  switches: number;
  dropped: number;
  bytes: number;
  upscaled: number;
}

const NONE: Readonly<Counters> = {
  watch: 0,
  stall: 0,
  stalls: 0,
  switches: 0,
  dropped: 0,
  bytes: 0,
  upscaled: 0,
};

/**
 * Between two looks the position may stand still for so long, in milliseconds, before the rest does not count as
 * watched: a machine that slept, or a page that was frozen, plays nothing though no event says so.
 */
const UNSEEN = 1000;
/** What a page that goes may still play after its last word, in milliseconds. */
const GOING = 250;
/** A jump of less than this, in seconds, is the player's own, over a gap between two segments. */
const OWN_JUMP = 0.5;
/** A position has moved when it has by this, in seconds: what was decoded is still shown when the buffer runs out. */
const MOVED = 0.1;

/**
 * What a viewing's events say, from what its video element does. Knows no page: the reporter tells it what happened, in
 * the order of its happening, and a test may do the same.
 *
 * Time counts by the state that the player was in while it passed: PLAYING is watched, REBUFFERING is stalled. The state
 * follows from what was heard last, so a stall ends when the position moves, whatever event a browser sends first.
 */
export class Measuring {
  readonly #clock: Clock;
  readonly #looks: Looks;
  readonly #emit: (event: Measured) => void;

  #sequence = 0n;
  #asked: number | undefined;
  #askedWall = 0;
  #requested = false;
  #startup: number | undefined;
  #playingSince: number | undefined;
  #over = false;
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

  #told: PlayerState = PlayerState.STARTING;
  #marked: number;
  /** Position when it was looked at last, seconds; where the watching since the event before began. */
  #position = 0;
  #watchedFrom: number | undefined;
  #rate = 1;
  /** Height of the rendition that was seen last. */
  #height = 0;
  #totals: Counters = { ...NONE };
  #reported: Counters = { ...NONE };

  constructor(clock: Clock, looks: Looks, emit: (event: Measured) => void) {
    this.#clock = clock;
    this.#looks = looks;
    this.#emit = emit;
    this.#marked = clock.now();
  }

  /** True once the viewer asked to play. */
  get begun(): boolean {
    return this.#asked !== undefined;
  }

  /** True once the first frame was shown. */
  get started(): boolean {
    return this.#startup !== undefined;
  }

  /**
   * The viewer asked to play, so long ago in milliseconds. It is told with the event that follows it: whether a page that
   * asks by itself may play is known only when the browser was asked.
   */
  asked(ago = 0): void {
    if (this.#asked === undefined) {
      this.#asked = this.#clock.now() - ago;
      this.#askedWall = this.#clock.wall() - ago;
    }
  }

  /** The browser wants the viewer's own word first: nobody asked yet. */
  refused(): void {
    if (!this.#requested) {
      this.#asked = undefined;
      this.#paused = true;
    }
  }

  /** "play": it is to go on. */
  play(): void {
    this.asked();
    this.#request();
    this.#change(() => {
      this.#paused = false;
      this.#atEnd = false;
    });
  }

  /** "pause". */
  pause(): void {
    this.#change(() => {
      this.#paused = true;
    });
  }

  /** "playing": there is enough to play on. */
  playing(): void {
    this.#change(() => {
      this.#playingSince ??= this.#clock.now();
      this.#paused = false;
      this.#waiting = false;
      this.#settle();
    });
  }

  /** "waiting": the buffer ran out. */
  waiting(): void {
    this.#change(() => {
      this.#waiting = !this.#seeking;
      this.#held = this.#position;
    });
  }

  /** Shaka Player stopped to fill its buffer, or goes on. */
  buffering(on: boolean): void {
    this.#change(() => {
      this.#buffering = on && !this.#seeking;
    });
  }

  /** A frame was shown. */
  frame(): void {
    if (this.#asked !== undefined) {
      this.#start(this.#clock.now());
    }
  }

  /** "timeupdate": look again. */
  moved(): void {
    this.#mark();
    if (Math.abs(this.#position - this.#held) < MOVED) {
      return;
    }
    if (!this.started && this.#playingSince !== undefined && this.#asked !== undefined) {
      // A page in the background shows no frame, and sound has none.
      this.#start(Math.max(this.#playingSince, this.#asked));
    }
    this.#change(() => {
      this.#waiting = false;
      this.#settle();
    });
  }

  /** "seeking": the position is another one now. */
  seeking(): void {
    if (!this.started) {
      return; // where playing begins
    }
    const to = this.#looks.glance().position;
    this.#markBlind();
    if (Math.abs(to - this.#position) < OWN_JUMP) {
      this.#held += to - this.#position;
      this.#position = to;
      return;
    }
    this.#seeking = true;
    this.#landed = false;
    this.#atEnd = false;
    this.#calm();
    this.#tellState();
    this.#position = to;
    this.#held = to;
  }

  /** "seeked": it has arrived there. */
  seeked(): void {
    if (!this.#seeking) {
      return;
    }
    this.#mark();
    this.#landed = true;
    if (this.#paused) {
      this.#settle();
    }
    this.#told = this.#state();
    this.#tell(EventType.SEEKED);
  }

  /** "resize", and whatever else may mean that another rendition is shown. */
  resized(): void {
    this.#mark();
    const { height } = this.#looks.glance();
    if (height === 0 || height === this.#height) {
      return;
    }
    const first = this.#height === 0;
    this.#height = height;
    if (!first && this.started) {
      this.#totals.switches += 1;
      this.#tell(EventType.RENDITION_CHANGED);
    }
  }

  /** Something went wrong, and playback goes on. */
  error(code: string): void {
    if (this.begun && !this.#failed) {
      this.#mark();
      this.#tell(EventType.ERROR, { errorCode: code });
    }
  }

  /** Something went wrong, and the viewer sees it. A viewing fails once. */
  fail(code: string): void {
    if (this.#failed || this.#over) {
      return;
    }
    this.asked();
    this.#mark();
    this.#failed = true;
    this.#over = true;
    this.#told = PlayerState.FATAL;
    this.#tell(EventType.FAILED, { errorCode: code });
  }

  /** "ended". What is watched after it, from the start again, is told by heartbeats. */
  ended(): void {
    this.#mark();
    this.#atEnd = true;
    this.#paused = true;
    this.#calm();
    this.#told = PlayerState.ENDED;
    this.#end(EventType.ENDED);
  }

  /** The viewer goes, or may be going for good. */
  leave(): void {
    if (!this.begun) {
      return;
    }
    this.#mark();
    this.#end(this.started ? EventType.ENDED : EventType.EXITED_BEFORE_START);
  }

  /** The page is not seen any more, and may be thrown away without another word: tell all that there is. */
  hidden(): void {
    if (!this.begun) {
      return;
    }
    this.#mark();
    if (!this.#over || this.#more()) {
      this.#tell(EventType.HEARTBEAT);
    }
  }

  /** The interval has passed. A viewing that is paused or over says nothing new, however long its page stays open. */
  beat(): void {
    if (!this.begun) {
      return;
    }
    this.#mark();
    const state = this.#state();
    if (state !== PlayerState.PAUSED && state !== PlayerState.ENDED && state !== PlayerState.FATAL) {
      this.#tell(EventType.HEARTBEAT);
    }
  }

  #state(): PlayerState {
    if (this.#failed) {
      return PlayerState.FATAL;
    }
    if (this.#atEnd) {
      return PlayerState.ENDED;
    }
    if (!this.started || this.#playingSince === undefined) {
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

  #start(at: number): void {
    if (this.started || this.#failed || this.#asked === undefined) {
      return;
    }
    this.#marked = at;
    const { position, height } = this.#looks.glance();
    this.#position = position;
    this.#held = position;
    this.#height = height;
    this.#startup = Math.max(0, at - this.#asked);
    this.#calm();
    this.#told = this.#state();
    this.#tell(EventType.STARTED, { startupMs: whole(this.#startup) });
  }

  #end(type: EventType): void {
    if (!this.#over) {
      this.#over = true;
      this.#tell(type);
    } else if (this.#more()) {
      this.#tell(EventType.HEARTBEAT);
    }
  }

  /** True where more was watched since the last event than passes while a page goes. */
  #more(): boolean {
    return this.#totals.watch - this.#reported.watch > GOING;
  }

  /** Let something change, and tell it where the state is another one by it. */
  #change(change: () => void): void {
    this.#mark();
    change();
    this.#tellState();
  }

  #tellState(): void {
    const state = this.#state();
    if (state === PlayerState.REBUFFERING && !this.#stalled) {
      this.#stalled = true;
      this.#totals.stalls += 1;
    } else if (state === PlayerState.PLAYING) {
      this.#stalled = false;
    }
    if (state !== this.#told && this.started) {
      this.#told = state;
      this.#tell(EventType.STATE_CHANGED);
    }
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

  /** Count the time since the last look by the state that it passed in. */
  #mark(): void {
    const glance = this.#looks.glance();
    const { position, rate } = glance;
    const moved = (1000 * (position - this.#position)) / (rate || this.#rate);
    this.#count(Math.max(0, moved) + UNSEEN, glance);
    this.#position = position;
    this.#rate = rate || this.#rate;
  }

  /** The same where the position has jumped already: it went on as it did, for no longer than between two looks. */
  #markBlind(): void {
    this.#position += (this.#count(UNSEEN, this.#looks.glance()) / 1000) * this.#rate;
  }

  /** Returns what was watched, in milliseconds, of which no more than `most` counts. */
  #count(most: number, { height, shownHeight }: Glance): number {
    const now = this.#clock.now();
    const passed = Math.max(0, now - this.#marked);
    this.#marked = Math.max(now, this.#marked);
    const state = this.#state();
    if (state === PlayerState.REBUFFERING) {
      this.#totals.stall += passed;
    }
    if (state !== PlayerState.PLAYING) {
      return 0;
    }
    const watched = Math.min(passed, most);
    this.#watchedFrom ??= this.#position;
    this.#totals.watch += watched;
    if (height > 0 && shownHeight > height + 1) {
      this.#totals.upscaled += watched;
    }
    return watched;
  }

  #tell(type: EventType, more: { errorCode?: string; startupMs?: bigint } = {}): void {
    this.#request();
    const details = this.#looks.details();
    this.#totals.dropped = Math.max(this.#totals.dropped, details.droppedFrames);
    this.#totals.bytes = Math.max(this.#totals.bytes, details.mediaBytes);
    this.#emit({
      ...this.#event(type, this.#told, this.#clock.wall()),
      ...this.#counters(),
      ...seen(details),
      height: whole(this.#height),
      rendition: this.#height > 0 ? `${this.#height}p` : "",
      ...more,
    });
    this.#reported = { ...this.#totals };
    this.#watchedFrom = undefined;
  }

  #request(): void {
    if (!this.#requested) {
      this.#requested = true;
      this.#emit(this.#event(EventType.REQUESTED, PlayerState.STARTING, this.#askedWall));
    }
  }

  #event(type: EventType, state: PlayerState, wall: number): Measured {
    const time = Math.round(wall);
    const sequence = this.#sequence;
    this.#sequence += 1n;
    return {
      eventId: uuid7(time),
      eventTimeMs: BigInt(time),
      sequence,
      type,
      state,
      positionMs: whole(1000 * this.#position),
      playbackRate: this.#rate,
    };
  }

  #counters() {
    const [now, then] = [this.#totals, this.#reported];
    // Totals are rounded, and what was added is the difference of two that are: so the two agree to the millisecond.
    const added = (counter: keyof Counters) => whole(now[counter]) - whole(then[counter]);
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

function seen(details: Details) {
  return {
    bitrateKbps: whole(details.bitrate / 1000),
    topBitrateKbps: whole(details.topBitrate / 1000),
    bufferMs: whole(1000 * details.buffer),
    throughputKbps: whole(details.throughput / 1000),
    cdn: details.cdn,
  };
}

/** A number as the contract carries it; what is not finite, or below nothing, was not measured. */
function whole(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.max(0, Math.round(value))) : 0n;
}
