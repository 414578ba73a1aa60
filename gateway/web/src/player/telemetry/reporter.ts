import type { Clients } from "../../api/clients";
import type { PlaybackSession } from "../../gen/reelmesh/playback/v1/session_pb";
import type { EventLog } from "../events";
import type { ConsentWord } from "./consent";
import { Measuring } from "./measuring";
import type { Details, Glance } from "./observation";
import { type Address, Outbox } from "./outbox";

/** The player tells its counters so often, in milliseconds. */
const INTERVAL = 10_000;

/** Where the telemetry of a viewing goes. */
export interface Telemetry extends Address {
  /** Resource name of the playback session. */
  session: string;
  /** The service, over gRPC-Web. */
  service: Pick<Clients["telemetry"], "report">;
  /** Asks for an address whose token works. */
  renew: () => Promise<Address>;
}

/** Return where the telemetry of a playback session goes. */
export function telemetryAddress({
  telemetryToken,
  telemetryUri,
}: Pick<PlaybackSession, "telemetryToken" | "telemetryUri">): Address {
  return { token: telemetryToken, uri: telemetryUri };
}

/** What is reported on. */
export interface Reported {
  video: HTMLVideoElement;
  log: EventLog;
  player: { name: string; version: string };
  consent: () => ConsentWord;
  details: () => Details;
}

/** Listens to a video element and reports what its viewer experiences. Nothing that goes wrong here disturbs playback. */
export class Reporter {
  readonly #video: HTMLVideoElement;
  readonly #measuring: Measuring;
  readonly #outbox: Outbox;
  readonly #over = new AbortController();

  constructor({ video, log, player, consent, details }: Reported, telemetry: Telemetry) {
    this.#video = video;
    const sender = {
      token: telemetry.token,
      uri: telemetry.uri,
      session: telemetry.session,
      player: player.name,
      playerVersion: player.version,
    };
    this.#outbox = new Outbox(sender, {
      report: (request) => telemetry.service.report(request),
      beacon: (uri, body) => navigator.sendBeacon(uri, new Blob([body], { type: "text/plain" })),
      renew: telemetry.renew,
      consent,
      wall: () => Date.now(),
      note: (type, detail) => log.add(type, detail),
    });
    const clock = { now: () => performance.now(), wall: () => this.#outbox.wall() };
    const looks = { glance: () => glance(video), details };
    this.#measuring = new Measuring(clock, looks, (event) => this.#outbox.add(event));
    this.#listen();
  }

  /** The viewer asked to play at `when`, as `performance.now` counts; the presentation is about to be loaded. */
  asked(when: number): void {
    this.#safely(() => this.#measuring.asked(performance.now() - when));
    this.#awaitFrame();
  }

  /** The browser does not play without a click. */
  refused(): void {
    this.#safely(() => this.#measuring.refused());
  }

  /** Shaka Player stopped to fill its buffer, or goes on; only where it is configured to. */
  buffering(on: boolean): void {
    this.#safely(() => this.#measuring.buffering(on));
  }

  /** Something went wrong; `seen` where it ended playing. */
  error(code: string, seen: boolean): void {
    this.#safely(() => (seen ? this.#measuring.fail(code) : this.#measuring.error(code)));
  }

  /** Use what a newer playback session says. */
  renewed(address: Address): void {
    this.#outbox.renewed(address);
  }

  /** The viewer left the player, though maybe not the page: what is left to tell is sent as ever. */
  end(): void {
    this.#safely(() => this.#measuring.leave());
    this.#over.abort();
  }

  #listen(): void {
    const { signal } = this.#over;
    const heard: Record<string, () => void> = {
      play: () => {
        this.#measuring.play();
        this.#awaitFrame();
      },
      // At the end of a video browsers say that it is paused, too.
      pause: () => this.#video.ended || this.#measuring.pause(),
      playing: () => this.#measuring.playing(),
      waiting: () => this.#measuring.waiting(),
      timeupdate: () => this.#measuring.moved(),
      seeking: () => this.#measuring.seeking(),
      seeked: () => this.#measuring.seeked(),
      resize: () => this.#measuring.resized(),
      ended: () => this.#measuring.ended(),
    };
    for (const [type, act] of Object.entries(heard)) {
      this.#video.addEventListener(type, () => this.#safely(act), { signal });
    }
    const timer = setInterval(() => this.#safely(() => this.#measuring.beat()), INTERVAL);
    signal.addEventListener("abort", () => clearInterval(timer));
    const hidden = () => {
      if (document.visibilityState === "hidden") {
        this.#safely(() => this.#measuring.hidden());
        this.#outbox.flush();
      }
    };
    document.addEventListener("visibilitychange", hidden, { signal });
    window.addEventListener("pagehide", () => this.#safely(() => this.#measuring.leave()), { signal });
    // Until the page goes, also for a player that went before: its last words may still wait.
    window.addEventListener("pagehide", () => this.#outbox.flush());
  }

  /** Hear of the first frame that is shown from now on. */
  #awaitFrame(): void {
    if (!this.#measuring.started && "requestVideoFrameCallback" in this.#video) {
      this.#video.requestVideoFrameCallback(() => this.#safely(() => this.#measuring.frame()));
    }
  }

  #safely(act: () => unknown): void {
    if (this.#outbox.stopped || this.#over.signal.aborted) {
      return;
    }
    try {
      act();
    } catch (error) {
      // The viewing is worth more than what is known of it.
      this.#outbox.stop();
      console.error("reelmesh: telemetry has stopped", error);
    }
  }
}

function glance(video: HTMLVideoElement): Glance {
  return {
    position: video.currentTime,
    rate: video.playbackRate,
    height: video.videoHeight,
    shownHeight: shownHeight(video) * window.devicePixelRatio,
  };
}

/** Return how high the picture is shown, in CSS pixels: it keeps its shape within the element. */
function shownHeight({ videoWidth, videoHeight, clientWidth, clientHeight }: HTMLVideoElement): number {
  return videoWidth > 0 ? Math.min(clientHeight, (clientWidth * videoHeight) / videoWidth) : 0;
}
