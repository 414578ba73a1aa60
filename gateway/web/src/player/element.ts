import { html } from "lit";
import { View } from "../ui/view";
import { type ControlsActions, type ControlsState, controls, keyPressed } from "./controls";
import { Engine } from "./engine";
import { EventLog } from "./events";
import type { Licenses } from "./licenses";
import { type ConsentWord, read } from "./telemetry/consent";
import { Reporter, type Telemetry } from "./telemetry/reporter";
import type { MediaTokens } from "./tokens";
import { PLAYER } from "./version";

/** What to play. */
export interface Presentation {
  /** Address of the HLS playlist or the DASH manifest. */
  uri: string;
  /** Second to begin at. */
  start: number;
  /** Length of the whole presentation in seconds, also while it grows; 0 where nobody knows. */
  duration: number;
  /** What opens its objects. */
  tokens: MediaTokens;
  /** What decrypts them. */
  licenses: Licenses;
  /** When the viewer asked to play, as `performance.now` counts. */
  asked: number;
  /** Greatest height to play, in pixels; undefined for any. */
  maxHeight: number | undefined;
  /** Where the viewing's telemetry goes; undefined for nowhere. */
  telemetry: Telemetry | undefined;
}

/**
 * `<reelmesh-player>`: the picture and its controls. Sends "failure" with Shaka's error when playing ended by one.
 *
 * Attribute `consent` is what the viewer agrees to have measured: "granted" (who they are, by a keyed hash), "anonymous"
 * (not that) or "denied" (nothing). Without it, it is "anonymous". A change holds from then on; after "denied" the viewing
 * is not measured again.
 */
export class PlayerElement extends View<ControlsState> {
  /** What happened so far. */
  readonly log = new EventLog();
  /** The video element; playing begins at `play`. */
  readonly video = document.createElement("video");
  #engine: Engine | undefined;
  #reporter: Reporter | undefined;
  #duration = 0;

  constructor() {
    super({
      position: 0,
      duration: 0,
      available: 0,
      paused: true,
      muted: false,
      volume: 1,
      qualities: [],
      chosen: undefined,
    });
    this.video.playsInline = true;
    this.video.addEventListener("click", () => this.#actions.toggle());
    for (const type of ["timeupdate", "play", "pause", "volumechange", "durationchange", "seeked", "ended"]) {
      this.video.addEventListener(type, () => this.#refresh());
    }
  }

  /** The Shaka Player, once something is loaded. */
  get shaka(): Engine["shaka"] | undefined {
    return this.#engine?.shaka;
  }

  /** Load a presentation and begin to play it where the browser allows. Rejects with Shaka's error. */
  async play({ uri, start, duration, tokens, licenses, ...more }: Presentation): Promise<void> {
    this.#duration = duration;
    this.#engine ??= await Engine.attach(this.video, this.log);
    const engine = this.#engine;
    engine.onChange = () => this.#refresh();
    engine.onFailure = (detail) => {
      this.#reporter?.error(`${detail.code}`, true);
      this.dispatchEvent(new CustomEvent("failure", { detail }));
    };
    engine.onError = ({ code }) => this.#reporter?.error(`${code}`, false);
    engine.onBuffering = (on) => this.#reporter?.buffering(on);
    engine.restrict(more.maxHeight);
    this.#report(engine, more.telemetry);
    this.#reporter?.asked(more.asked);
    await engine.load(uri, start, tokens, licenses);
    // Refused without a click before; then the button is there.
    await this.video.play().catch(() => this.#reporter?.refused());
  }

  /** What the viewer agrees to have measured. */
  get consent(): ConsentWord {
    return read(this.getAttribute("consent")) ?? "anonymous";
  }

  set consent(word: ConsentWord) {
    this.setAttribute("consent", word);
  }

  /** What reports on the viewing; undefined where nothing does. */
  get reporter(): Reporter | undefined {
    return this.#reporter;
  }

  #report(engine: Engine, telemetry: Telemetry | undefined): void {
    this.#reporter?.end();
    const wanted = telemetry !== undefined && telemetry.token !== "" && this.consent !== "denied";
    const reported = { video: this.video, log: this.log, player: PLAYER };
    this.#reporter = wanted
      ? new Reporter({ ...reported, consent: () => this.consent, details: () => engine.details() }, telemetry)
      : undefined;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#reporter?.end();
    void this.#engine?.destroy();
  }

  protected override render() {
    return html`<div class="player" @keydown=${this.#key}>${this.video}${controls(this.state, this.#actions)}</div>`;
  }

  readonly #actions: ControlsActions = {
    toggle: () => void (this.video.paused ? this.video.play() : this.video.pause()),
    seek: (position) => {
      // What is not encoded yet cannot be played yet.
      const end = Math.min(this.state.duration, this.#engine?.available() ?? 0);
      this.video.currentTime = Math.max(0, Math.min(position, end));
    },
    mute: () => {
      this.video.muted = !this.video.muted;
    },
    setVolume: (volume) => {
      this.video.volume = volume;
      this.video.muted = false;
    },
    choose: (height) => {
      this.set({ chosen: height });
      this.#engine?.choose(height);
    },
    fullscreen: () =>
      void (document.fullscreenElement
        ? document.exitFullscreen()
        : this.querySelector(".player")?.requestFullscreen()),
  };

  #refresh(): void {
    const { video } = this;
    const available = this.#engine?.available() ?? 0;
    this.set({
      position: video.currentTime,
      duration: this.#duration || (Number.isFinite(video.duration) ? video.duration : available),
      available,
      paused: video.paused,
      muted: video.muted,
      volume: video.volume,
      qualities: this.#engine?.qualities() ?? [],
    });
  }

  readonly #key = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    // Fields and buttons keep the keys that mean something to themselves.
    const taken = target.matches("input, select") || (target.matches("button") && event.key === " ");
    if (!taken && !event.ctrlKey && !event.metaKey && keyPressed(event.key, this.state, this.#actions)) {
      event.preventDefault();
    }
  };
}

customElements.define("reelmesh-player", PlayerElement);
