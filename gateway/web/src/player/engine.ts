import shaka from "shaka-player/dist/shaka-player.compiled-es2021.js";
import type { EventLog } from "./events";
import type { Licenses } from "./licenses";
import type { Details } from "./telemetry/observation";
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
  #onError: (error: shaka.util.Error) => void = () => {};
  #onBuffering: (on: boolean) => void = () => {};
  /** Host that the last segment came from. */
  #mediaHost = "";

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
    engine.#noteHost();
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

  /** Calls `listener` with an error that playing survives. */
  set onError(listener: (error: shaka.util.Error) => void) {
    this.#onError = listener;
  }

  /** Calls `listener` when Shaka Player itself holds playing to fill its buffer, which it does not unless it is told to. */
  set onBuffering(listener: (on: boolean) => void) {
    this.#onBuffering = listener;
  }

  /** Play nothing that is higher than `height` pixels; anything where it is undefined. */
  restrict(height: number | undefined): void {
    this.#player.configure({ restrictions: { maxHeight: height ?? Number.POSITIVE_INFINITY } });
  }

  /** Return what telemetry tells of the present moment. */
  details(): Details {
    const video = this.#player.getMediaElement();
    const tracks = this.#player.getVariantTracks();
    const { estimatedBandwidth, bytesDownloaded } = this.#player.getStats();
    return {
      bitrate: shownTrack(tracks, video)?.bandwidth ?? 0,
      topBitrate: Math.max(0, ...tracks.map((track) => track.bandwidth)),
      buffer: video ? bufferedAhead(video) : 0,
      throughput: estimatedBandwidth,
      droppedFrames: (video as HTMLVideoElement | null)?.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0,
      mediaBytes: bytesDownloaded,
      cdn: this.#mediaHost === location.host ? "" : this.#mediaHost,
    };
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

  #noteHost(): void {
    const { SEGMENT } = shaka.net.NetworkingEngine.RequestType;
    this.#player.getNetworkingEngine()?.registerResponseFilter((type, response) => {
      if (type === SEGMENT && URL.canParse(response.uri)) {
        this.#mediaHost = new URL(response.uri).host;
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
      } else {
        this.#onError(error);
      }
    });
    this.#player.addEventListener("buffering", (event) => {
      if (this.#player.getConfiguration().streaming.rebufferingGoal > 0) {
        this.#onBuffering((event as unknown as { buffering: boolean }).buffering);
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

/** Shaka fetches the active track ahead; what is seen may still be the one before. */
function shownTrack(
  tracks: shaka.extern.Track[],
  video: HTMLMediaElement | null,
): shaka.extern.Track | undefined {
  const active = tracks.find((track) => track.active);
  const height = video instanceof HTMLVideoElement ? video.videoHeight : 0;
  return height === 0 || active?.height === height
    ? active
    : tracks.find((track) => track.height === height && track.videoCodec === active?.videoCodec);
}

/** Return how many seconds are buffered ahead of what is played. */
function bufferedAhead({ buffered, currentTime }: HTMLMediaElement): number {
  for (let index = 0; index < buffered.length; index += 1) {
    if (buffered.start(index) <= currentTime + 0.1 && currentTime < buffered.end(index)) {
      return buffered.end(index) - currentTime;
    }
  }
  return 0;
}
