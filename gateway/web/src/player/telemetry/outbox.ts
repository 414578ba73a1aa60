import { create, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import type { ApiError } from "../../api/errors";
import { toApiError } from "../../api/errors";
import { uuid7 } from "../../api/ids";
import { backoff } from "../../api/waiting";
import { EventType } from "../../gen/reelmesh/telemetry/v1/event_pb";
import {
  type ReportRequest,
  ReportRequestSchema,
  type ReportResponse,
} from "../../gen/reelmesh/telemetry/v1/telemetry_service_pb";
import { type ConsentWord, consent } from "./consent";
import type { Measured } from "./measured";

/** What a viewing's telemetry is sent with: of its playback session, or what GetPlaybackSession answers later. */
export interface Address {
  /** Says whose telemetry it is. */
  token: string;
  /** Where beacons go. */
  uri: string;
}

/** How events leave. */
export interface Ways {
  /** TelemetryService.Report; throws what the server says. */
  report(request: MessageInitShape<typeof ReportRequestSchema>): Promise<ReportResponse>;
  /** navigator.sendBeacon: false where the browser does not take it. */
  beacon(uri: string, body: string): boolean;
  /** An address whose token works, once one does not any more. */
  renew(): Promise<Address>;
  /** What the viewer agrees to now. */
  consent(): ConsentWord;
  /** Milliseconds since 1970, by this machine's clock. */
  wall(): number;
  /** What became of a batch, for the console. */
  note?(type: string, detail: Record<string, unknown>): void;
}

/** Whose events they are, and of which player. */
export interface Sender extends Address {
  session: string;
  player: string;
  playerVersion: string;
}

/** Events wait so long for others to go with, in milliseconds, unless so many wait or one says something new. */
const GATHER = 5_000;
const BATCH = 20;
/** Most events of a request; the server takes 1000. */
const MOST = 200;
/** Most events that wait for a server that is away: an hour of watching, and six where heartbeats are joined. */
const BOUND = 400;
/** Most of a beacon, in bytes: what browsers take of all beacons that are under way, with room for the page's own. */
const BEACON = 48_000;
/** Most that joined heartbeats may stand for, in milliseconds. */
const JOINED = 60_000n;
/** A clock that is less wrong than this, in milliseconds, is left as it is: the server takes it. */
const RIGHT = 60_000;

/** What an operator wants to know at once: somebody came, began, broke off. */
const SOON = new Set([
  EventType.REQUESTED,
  EventType.STARTED,
  EventType.FAILED,
  EventType.ENDED,
  EventType.EXITED_BEFORE_START,
]);

/**
 * Takes events and brings them to the server, in their order, each until the server has answered for it.
 *
 * A batch that was not answered is sent again as it was, since the server knows events by their id. One that goes with a
 * page that is left stays in the queue too: nobody hears what became of a beacon, and if the page lives on, it is sent
 * once more. While the server is away the queue stays bounded; what has to go shows as a gap in the sequence.
 */
export class Outbox {
  readonly #sender: Sender;
  readonly #ways: Ways;
  #queue: Measured[] = [];
  /** Those that a beacon has taken: each goes by one at most. */
  readonly #beaconed = new WeakSet<Measured>();
  /** How many of the first events were sent already, so must not change. */
  #sent = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Number.POSITIVE_INFINITY;
  #sending = false;
  #stopped = false;
  #failures = 0;
  /** What is added to this machine's clock, in milliseconds. */
  #correction = 0;

  constructor(sender: Sender, ways: Ways) {
    this.#sender = { ...sender };
    this.#ways = ways;
  }

  /** Milliseconds since 1970, as far as the server and this machine agree on it. */
  wall(): number {
    return this.#ways.wall() + this.#correction;
  }

  /** True once the server wants no more of this viewing. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Events that wait. */
  get waiting(): readonly Measured[] {
    return this.#queue;
  }

  /** Use what a newer playback session says. */
  renewed({ token, uri }: Address): void {
    Object.assign(this.#sender, { token, uri });
  }

  add(event: Measured): void {
    if (this.#denied()) {
      return;
    }
    this.#queue.push(event);
    this.#bound();
    this.#schedule(SOON.has(event.type) || this.#queue.length >= BATCH ? 0 : GATHER);
  }

  /** The page goes, or may be going: hand over everything now. */
  flush(): void {
    if (this.#denied() || this.#sender.uri === "") {
      return;
    }
    const newestFirst = this.#queue.filter((event) => !this.#beaconed.has(event)).reverse();
    const parts: Measured[][] = [];
    let room = 0;
    for (const event of newestFirst) {
      const size = this.#body([event]).length;
      if (room < size) {
        parts.push([]);
        room = BEACON;
      }
      parts.at(-1)?.unshift(event);
      room -= size;
    }
    for (const part of parts) {
      const taken = this.#ways.beacon(this.#sender.uri, this.#body(part));
      this.#ways.note?.("telemetry-beacon", { events: part.length, taken });
      if (!taken) {
        break; // older ones would not be taken either
      }
      for (const event of part) {
        this.#beaconed.add(event);
      }
    }
    this.#sent = this.#queue.length;
  }

  /** Send no more. */
  stop(): void {
    this.#stopped = true;
    this.#queue = [];
    clearTimeout(this.#timer);
  }

  /** True where nothing may be sent; a viewer may say so at any time. */
  #denied(): boolean {
    if (this.#ways.consent() === "denied") {
      this.stop();
    }
    return this.#stopped;
  }

  #schedule(wait: number): void {
    // What the server asked to wait for is waited for, whatever else happens.
    if (this.#sending || this.#stopped || (this.#failures > 0 && this.#timer !== undefined)) {
      return;
    }
    const due = this.#ways.wall() + wait;
    if (this.#timer !== undefined && this.#due <= due) {
      return;
    }
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => void this.#send(), wait);
  }

  async #send(): Promise<void> {
    this.#timer = undefined;
    const batch = this.#queue.slice(0, MOST);
    if (this.#denied() || batch.length === 0 || this.#sending) {
      return;
    }
    this.#sending = true;
    this.#sent = Math.max(this.#sent, batch.length);
    const request = this.#request(batch);
    let wait = GATHER;
    try {
      const response = await this.#ways.report(request);
      this.#failures = 0;
      this.#answered(batch, response, Number(request.sentTimeMs));
      wait = this.#queue.length >= BATCH || this.#queue.some((event) => SOON.has(event.type)) ? 0 : GATHER;
    } catch (error) {
      wait = await this.#refused(toApiError(error));
    } finally {
      this.#sending = false;
    }
    if (this.#queue.length > 0) {
      this.#schedule(wait);
    }
  }

  #answered(batch: Measured[], response: ReportResponse, sentTime: number): void {
    const { accepted, refusals } = response;
    this.#ways.note?.("telemetry", { accepted, refusals: refusals.map(({ reason }) => reason) });
    if (!response.sampled) {
      this.stop();
      return;
    }
    const off = Number(response.serverTimeMs) - sentTime;
    const again = new Map<Measured, Measured>();
    if (Math.abs(off) > RIGHT) {
      for (const { index, reason } of refusals) {
        const event = batch[index];
        if (event !== undefined && (reason === "CLOCK_SKEWED" || reason === "EVENT_TOO_LATE")) {
          again.set(event, restamped(event, off));
        }
      }
    }
    const done = new Set(batch.filter((event) => !again.has(event)));
    if (again.size > 0) {
      this.#correction += off;
      // What happened while the answer was under way has the wrong time too.
      for (const event of this.#queue.slice(batch.length)) {
        again.set(event, restamped(event, off));
      }
    }
    this.#queue = this.#queue.filter((event) => !done.has(event)).map((event) => again.get(event) ?? event);
    this.#sent = Math.min(this.#sent - done.size, this.#queue.length);
  }

  /** Returns how long to wait before the next try, in milliseconds. */
  async #refused(error: ApiError): Promise<number> {
    this.#ways.note?.("telemetry-lost", { reason: error.reason || error.message });
    this.#failures += 1;
    if (error.reason === "TELEMETRY_TOKEN_EXPIRED" && this.#failures === 1) {
      try {
        this.renewed(await this.#ways.renew());
        return 0;
      } catch (cause) {
        return this.#refused(toApiError(cause));
      }
    }
    if (!error.retryable) {
      this.stop(); // it would say the same of everything else
    }
    return backoff(this.#failures);
  }

  /** Join or drop what is too much: first heartbeats, whose counters go on in the next; never what says how it went. */
  #bound(): void {
    while (this.#queue.length > BOUND) {
      const first = this.#queue.findIndex(
        (event, index) => index >= this.#sent && joinable(event, this.#queue[index + 1]),
      );
      if (first >= 0) {
        const [one, other] = this.#queue.splice(first, 2) as [Measured, Measured];
        this.#queue.splice(first, 0, joined(one, other));
        continue;
      }
      const index = this.#queue.findIndex((event) => !SOON.has(event.type));
      this.#queue.splice(Math.max(0, index), 1);
      this.#sent -= index < this.#sent ? 1 : 0;
    }
  }

  #request(events: Measured[]) {
    const { token, session, player, playerVersion } = this.#sender;
    const sentTimeMs = BigInt(Math.round(this.wall()));
    const agreed = consent(this.#ways.consent());
    return { token, session, sentTimeMs, consent: agreed, client: { player, playerVersion }, events };
  }

  #body(events: Measured[]): string {
    const message: ReportRequest = create(ReportRequestSchema, this.#request(events));
    return toJsonString(ReportRequestSchema, message);
  }
}

/** The same event at another time; its id says the time too. */
function restamped(event: Measured, by: number): Measured {
  const time = Number(event.eventTimeMs) + Math.round(by);
  return { ...event, eventTimeMs: BigInt(time), eventId: uuid7(time) };
}

function joinable(one: Measured, other: Measured | undefined): boolean {
  const beats = one.type === EventType.HEARTBEAT && other?.type === EventType.HEARTBEAT;
  return beats && BigInt(one.watchMs ?? 0) + BigInt(other.watchMs ?? 0) <= JOINED;
}

/** One heartbeat for two that follow each other: the later, with what both added. */
function joined(one: Measured, other: Measured): Measured {
  const sum = (counter: (typeof ADDED)[number]) => BigInt(one[counter] ?? 0) + BigInt(other[counter] ?? 0);
  const added = Object.fromEntries(ADDED.map((counter) => [counter, sum(counter)]));
  const watchedFromMs = one.watchMs ? one.watchedFromMs : other.watchedFromMs;
  return { ...other, ...added, ...(watchedFromMs === undefined ? {} : { watchedFromMs }) };
}

const ADDED = [
  "watchMs",
  "stallMs",
  "stalls",
  "switches",
  "droppedFrames",
  "mediaBytes",
  "upscaledMs",
] as const;
