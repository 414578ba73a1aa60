import { uuid7 } from "../../api/ids";
import { EventType, PlayerState } from "../../gen/reelmesh/telemetry/v1/event_pb";
import { Counters } from "./counters";
import { type Measured, seen, whole } from "./measured";
import type { Clock, Glance, Looks } from "./observation";
import { Playback } from "./state";

/**
 * Between two looks the position may stand still for so long, in milliseconds, before the rest does not count as
 * watched: a machine that slept, or a page that was frozen, plays nothing though no event says so.
 */
const UNSEEN = 1000;
/** What a page that goes may still play after its last word, in milliseconds. */
const GOING = 250;
/** A jump of less than this, in seconds, is the player's own, over a gap between two segments. */
const OWN_JUMP = 0.5;

/**
 * What a viewing's events say, from what its video element does. Knows no page: the reporter tells it what happened, in
 * the order of its happening, and a test may do the same.
 *
 * Time counts by the state that the player was in while it passed: PLAYING is watched, REBUFFERING is stalled.
 */
export class Measuring {
  readonly #clock: Clock;
  readonly #looks: Looks;
  readonly #emit: (event: Measured) => void;
  readonly #playback = new Playback();
  readonly #counters = new Counters();

  #sequence = 0n;
  #asked: number | undefined;
  #askedWall = 0;
  #requested = false;
  #over = false;

  #told: PlayerState = PlayerState.STARTING;
  #marked: number;
  /** Position when it was looked at last, seconds. */
  #position = 0;
  #rate = 1;
  /** Height of the rendition that was seen last. */
  #height = 0;

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
    return this.#playback.started;
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
      this.#playback.pause();
    }
  }

  /** "play": it is to go on. */
  play(): void {
    this.asked();
    this.#request();
    this.#change(() => this.#playback.play());
  }

  /** "pause". */
  pause(): void {
    this.#change(() => this.#playback.pause());
  }

  /** "playing": there is enough to play on. */
  playing(): void {
    this.#change(() => this.#playback.playing(this.#clock.now()));
  }

  /** "waiting": the buffer ran out. */
  waiting(): void {
    this.#change(() => this.#playback.waiting(this.#position));
  }

  /** Shaka Player stopped to fill its buffer, or goes on. */
  buffering(on: boolean): void {
    this.#change(() => this.#playback.buffering(on));
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
    if (this.#playback.holds(this.#position)) {
      return;
    }
    const { playingSince } = this.#playback;
    if (!this.started && playingSince !== undefined && this.#asked !== undefined) {
      // A page in the background shows no frame, and sound has none.
      this.#start(Math.max(playingSince, this.#asked));
    }
    this.#change(() => this.#playback.moves());
  }

  /** "seeking": the position is another one now. */
  seeking(): void {
    if (!this.started) {
      return; // where playing begins
    }
    const to = this.#looks.glance().position;
    this.#markBlind();
    if (Math.abs(to - this.#position) < OWN_JUMP) {
      this.#playback.shift(to - this.#position);
      this.#position = to;
      return;
    }
    this.#playback.jump(to);
    this.#tellState();
    this.#position = to;
  }

  /** "seeked": it has arrived there. */
  seeked(): void {
    if (!this.#playback.seeking) {
      return;
    }
    this.#mark();
    this.#playback.land();
    this.#told = this.#playback.state;
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
      this.#counters.switched();
      this.#tell(EventType.RENDITION_CHANGED);
    }
  }

  /** Something went wrong, and playback goes on. */
  error(code: string): void {
    if (this.begun && !this.#playback.failed) {
      this.#mark();
      this.#tell(EventType.ERROR, { errorCode: code });
    }
  }

  /** Something went wrong, and the viewer sees it. A viewing fails once. */
  fail(code: string): void {
    if (this.#playback.failed || this.#over) {
      return;
    }
    this.asked();
    this.#mark();
    this.#playback.fail();
    this.#over = true;
    this.#told = PlayerState.FATAL;
    this.#tell(EventType.FAILED, { errorCode: code });
  }

  /** "ended". What is watched after it, from the start again, is told by heartbeats. */
  ended(): void {
    this.#mark();
    this.#playback.end();
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
    const { state } = this.#playback;
    if (state !== PlayerState.PAUSED && state !== PlayerState.ENDED && state !== PlayerState.FATAL) {
      this.#tell(EventType.HEARTBEAT);
    }
  }

  #start(at: number): void {
    if (this.started || this.#playback.failed || this.#asked === undefined) {
      return;
    }
    this.#marked = at;
    const { position, height } = this.#looks.glance();
    this.#position = position;
    this.#height = height;
    this.#playback.start(position);
    this.#told = this.#playback.state;
    this.#tell(EventType.STARTED, { startupMs: whole(at - this.#asked) });
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
    return this.#counters.unreported > GOING;
  }

  /** Let something change, and tell it where the state is another one by it. */
  #change(change: () => void): void {
    this.#mark();
    change();
    this.#tellState();
  }

  #tellState(): void {
    const { state } = this.#playback;
    if (this.#playback.newStall()) {
      this.#counters.stallBegan();
    }
    if (state !== this.#told && this.started) {
      this.#told = state;
      this.#tell(EventType.STATE_CHANGED);
    }
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
    const { state } = this.#playback;
    if (state === PlayerState.REBUFFERING) {
      this.#counters.stalled(passed);
    }
    if (state !== PlayerState.PLAYING) {
      return 0;
    }
    const watched = Math.min(passed, most);
    this.#counters.watched(watched, this.#position, height > 0 && shownHeight > height + 1);
    return watched;
  }

  #tell(type: EventType, more: { errorCode?: string; startupMs?: bigint } = {}): void {
    this.#request();
    const details = this.#looks.details();
    this.#emit({
      ...this.#event(type, this.#told, this.#clock.wall()),
      ...this.#counters.report(details),
      ...seen(details),
      height: whole(this.#height),
      rendition: this.#height > 0 ? `${this.#height}p` : "",
      ...more,
    });
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
}
