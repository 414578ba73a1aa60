import shaka from "shaka-player/dist/shaka-player.compiled-es2021.js";
import type { EventLog } from "./events";
import type { Licenses } from "./licenses";
import { type MediaTokens, withToken } from "./tokens";

/** One choice of the quality menu. */
export interface Quality {
  /** Height in pixels. */
  height: number;
  /** Bits per second, sound included. */
  bandwidth: number;
  /** True for what is played now. */
  active: boolean;
}

const SETTINGS = {
  manifest: {
    // What grows is not live: it may be watched and sought up to its last segment. 0 would mean Shaka's own choice,
    // three segments behind it.
    defaultPresentationDelay: 0.001,
    // Captions are tracks of their own: without this three segments are searched for others before the first frame.
    hls: { disableClosedCaptionsDetection: true },
  },
  // A seek in the middle of a switch of renditions leaves an aborted init segment among those fetched ahead, and the
  // player waits for ever: https://github.com/shaka-project/shaka-player/issues/10569
  streaming: { segmentPrefetchLimit: 0 },
};

/**
 * Of HLS and Clear Key, Shaka takes what stands in the playlist for the key itself, and asks a `data:` address for the
 * license that it made of that. Ours names the key only, and the request goes to the license server; but Shaka chooses
 * who sends a request before its address is changed.
 */
const sendReaddressed: shaka.extern.SchemePlugin = (
  uri,
  request,
  type,
  progressed,
  headersReceived,
  config,
) =>
  uri.startsWith("data:")
    ? shaka.net.DataUriPlugin.parse(uri, request, type, progressed)
    : shaka.net.HttpFetchPlugin.parse(uri, request, type, progressed, headersReceived, config);

/** Shaka Player as the pages need it. */
export class Engine {
  readonly #log: EventLog;
  readonly #player = new shaka.Player();
  /** Second up to which the manifest listed segments when it was last read. */
  #listed = 0;
  #tokens: MediaTokens | undefined;
  #licenses: Licenses | undefined;
  #onChange: () => void = () => {};
  #onFailure: (error: shaka.util.Error) => void = () => {};

  private constructor(log: EventLog) {
    this.#log = log;
  }

  /** Make a player on `video`; throws where the browser has no Media Source Extensions. */
  static async attach(video: HTMLVideoElement, log: EventLog): Promise<Engine> {
    shaka.polyfill.installAll();
    if (!shaka.Player.isBrowserSupported()) {
      throw new Error("this browser cannot play adaptive streams");
    }
    const { APPLICATION } = shaka.net.NetworkingEngine.PluginPriority;
    shaka.net.NetworkingEngine.registerScheme("data", sendReaddressed, APPLICATION);
    const engine = new Engine(log);
    engine.#player.configure(SETTINGS);
    await engine.#player.attach(video);
    engine.#listen(video);
    engine.#present();
    return engine;
  }

  /** The Shaka Player itself, for statistics and tests. */
  get shaka(): shaka.Player {
    return this.#player;
  }

  /** Calls `listener` whenever the tracks or the one that is played may have changed. */
  set onChange(listener: () => void) {
    this.#onChange = listener;
  }

  /** Calls `listener` with an error that ended playing; others heal by themselves. */
  set onFailure(listener: (error: shaka.util.Error) => void) {
    this.#onFailure = listener;
  }

  /**
   * Load a presentation at `start` seconds; `tokens` open its objects, `licenses` decrypt them. Without an explicit
   * start a growing one would begin at its end.
   */
  async load(uri: string, start: number, tokens: MediaTokens, licenses: Licenses): Promise<void> {
    this.#tokens = tokens;
    this.#licenses = licenses;
    this.#player.configure({ drm: licenses.settings });
    this.#log.add("loading", { start });
    await this.#player.load(uri, start);
    this.#log.add("loaded", { growing: this.#player.isDynamic() });
    this.#noteListed();
  }

  /** Return the choices for the picture, best first; renditions of one height count once. */
  qualities(): Quality[] {
    const best = new Map<number, Quality>();
    for (const track of this.#player.getVariantTracks()) {
      const height = track.height ?? 0;
      const other = best.get(height);
      if (other === undefined || track.active || (!other.active && track.bandwidth > other.bandwidth)) {
        best.set(height, { height, bandwidth: track.bandwidth, active: track.active });
      }
    }
    return [...best.values()].sort((a, b) => b.height - a.height);
  }

  /** Play one height only, or adapt to the network where it is undefined. */
  choose(height: number | undefined): void {
    this.#player.configure({ abr: { enabled: height === undefined } });
    const track = this.#player.getVariantTracks().find((candidate) => candidate.height === height);
    if (track !== undefined) {
      this.#player.selectVariantTrack(track, true);
    }
    this.#onChange();
  }

  /** Return the second up to which can be played now. */
  available(): number {
    return this.#player.isDynamic() ? this.#listed : this.#player.seekRange().end;
  }

  /** Let go of the video element. */
  async destroy(): Promise<void> {
    await this.#player.destroy();
  }

  /** Present the newest token instead of the one that the manifest, or the session, had when it was read. */
  #present(): void {
    const { SEGMENT, LICENSE } = shaka.net.NetworkingEngine.RequestType;
    this.#player.getNetworkingEngine()?.registerRequestFilter(async (type, request) => {
      if (type === SEGMENT && this.#tokens !== undefined) {
        const token = await this.#tokens.current();
        request.uris = request.uris.map((uri) => withToken(uri, token));
      } else if (type === LICENSE) {
        await this.#ask(request);
      }
    });
  }

  /** Send a license request where the session says. */
  async #ask(request: shaka.extern.Request): Promise<void> {
    const renewal = request.licenseRequestType === "license-renewal";
    const address = await this.#licenses?.address(request.drmInfo?.keySystem ?? "", renewal);
    if (address !== undefined) {
      request.uris = [address];
      this.#log.add("license", { keySystem: request.drmInfo?.keySystem, renewal });
    }
  }

  #listen(video: HTMLVideoElement): void {
    for (const type of ["playing", "pause", "ended", "waiting"]) {
      video.addEventListener(type, () => this.#log.add(type, { position: video.currentTime }));
    }
    this.#player.addEventListener("error", (event) => {
      const error = (event as unknown as { detail: shaka.util.Error }).detail;
      const { code, category, severity, data } = error;
      this.#log.add("error", { code, category, severity, data: data.map(String) });
      if (severity === shaka.util.Error.Severity.CRITICAL) {
        this.#onFailure(error);
      }
    });
    const changed = () => {
      const active = this.#player.getVariantTracks().find((track) => track.active);
      this.#log.add("adaptation", { height: active?.height, bandwidth: active?.bandwidth });
      this.#onChange();
    };
    this.#player.addEventListener("adaptation", changed);
    this.#player.addEventListener("variantchanged", changed);
    this.#player.addEventListener("trackschanged", () => this.#onChange());
    this.#player.addEventListener("manifestupdated", () => this.#noteListed());
  }

  /** Between two readings of a manifest Shaka lets the seek range of DASH run on with the clock. */
  #noteListed(): void {
    this.#listed = this.#player.seekRange().end;
    this.#onChange();
  }
}
