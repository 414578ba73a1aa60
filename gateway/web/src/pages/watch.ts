import { Code } from "@connectrpc/connect";
import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { ApiError, toApiError } from "../api/errors";
import { uuid } from "../api/ids";
import { watchJob } from "../api/jobs";
import { ORGANIZATION, titleName, videoName } from "../api/names";
import { sleep } from "../api/waiting";
import type { Video } from "../gen/reelmesh/catalog/v1/video_pb";
import { Video_State } from "../gen/reelmesh/catalog/v1/video_pb";
import type { PlaybackSession } from "../gen/reelmesh/playback/v1/session_pb";
import type { Job } from "../gen/reelmesh/transcode/v1/job_pb";
import { PlayerElement } from "../player/element";
import { maxHeight } from "../player/experiments";
import { errorCode, failure } from "../player/failures";
import { keepViewing } from "../player/keeping";
import { Leaving } from "../player/leaving";
import { Licenses, licenseServers } from "../player/licenses";
import { reportProgress } from "../player/progress";
import { defaultConsent, saidConsent } from "../player/telemetry/consent";
import { telemetryAddress } from "../player/telemetry/reporter";
import { MediaTokens, mediaToken } from "../player/tokens";
import { viewer } from "../player/viewer";
import { expose } from "../testing";
import { clock, duration, seconds } from "../ui/format";
import { errorBox, jobProgress } from "../ui/parts";
import { View } from "../ui/view";
import { isRefusal, Paywall } from "./paywall";
import { WatchedTitle } from "./watched-title";

type Format = "hls" | "dash";

interface State {
  video: Video | undefined;
  job: Job | undefined;
  error: ApiError | undefined;
  /** Second that playing was taken up at; 0 for the start. */
  resumedAt: number;
}

/** `/watch/{id}`: one video, playable while it is still being encoded. */
export class WatchPage extends View<State> {
  readonly #clients: Clients;
  readonly #name: string | undefined;
  readonly #format: Format;
  readonly #player = new PlayerElement();
  readonly #title: WatchedTitle;
  #playing = false;
  #wall: Paywall | undefined;

  constructor(clients: Clients, id: string) {
    super({ video: undefined, job: undefined, error: undefined, resumedAt: 0 });
    this.#clients = clients;
    this.#name = videoName(id);
    const asked = new URLSearchParams(location.search);
    this.#format = asked.get("format") === "dash" ? "dash" : "hls";
    this.#title = new WatchedTitle(clients, titleName(asked.get("title") ?? ""), this.#player.video);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    expose(this.#player);
    this.#player.addEventListener("failure", (event) => this.#fail((event as CustomEvent).detail));
    void this.#start();
  }

  async #start(): Promise<void> {
    try {
      const video = await this.#video();
      const playable = video.state === Video_State.PLAYABLE || video.state === Video_State.READY;
      const work = [playable ? this.#play(video) : undefined];
      if (video.state !== Video_State.READY) {
        work.push(this.#mayFollow() ? this.#follow(video) : this.#poll(video));
      }
      await Promise.all(work);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #video(): Promise<Video> {
    const unknown = new ApiError("there is no such video", Code.NotFound, "VIDEO_UNKNOWN");
    if (this.#name === undefined) {
      throw unknown;
    }
    const { video } = await this.#clients.videos.getVideo({ name: this.#name }, { signal: this.gone });
    if (video === undefined) {
      throw unknown;
    }
    this.set({ video });
    document.title = `${video.title || "Untitled"} · Reelmesh`;
    return video;
  }

  /** How far the encoding is, is for who makes videos; others wait until they can watch. */
  #mayFollow(): boolean {
    return this.#clients.session.account?.edits ?? false;
  }

  /** Begin to play as soon as that is possible. */
  async #poll(first: Video): Promise<void> {
    let video = first;
    while (video.state !== Video_State.READY && video.state !== Video_State.FAILED) {
      if (video.state === Video_State.PLAYABLE) {
        await this.#play(video);
      }
      await sleep(1000, this.gone);
      video = await this.#video();
    }
    if (video.state === Video_State.FAILED) {
      throw new ApiError("encoding failed", Code.FailedPrecondition, video.failureReason);
    }
    await this.#play(video);
  }

  /** Show how far the encoding is, and begin to play as soon as that is possible. */
  async #follow(first: Video): Promise<void> {
    let video = first;
    while (video.job === "" && video.state !== Video_State.FAILED) {
      await sleep(1000, this.gone);
      video = await this.#video();
    }
    if (video.state === Video_State.FAILED) {
      throw new ApiError("encoding failed", Code.FailedPrecondition, video.failureReason);
    }
    for await (const job of watchJob(this.#clients.jobs, video.job, this.gone)) {
      this.#player.log.add("job", {
        revision: Number(job.revision),
        playable: job.playable,
        state: job.state,
      });
      this.set({ job });
      if (job.playable) {
        // Not awaited: progress goes on while the player loads.
        this.#play(video, seconds(job.duration)).catch((error) => this.#fail(error));
      }
    }
  }

  /** Begin to play, once. */
  async #play(video: Video, length = seconds(video.duration)): Promise<void> {
    if (this.#playing) {
      return;
    }
    this.#playing = true;
    // Who opens the page of a video asks to see it: the wait for a session is part of theirs.
    const asked = performance.now();
    this.#player.consent = this.#consent();
    const session = await this.#session(video);
    this.#player.log.add("session", { name: session.name });
    this.#keep(session);
    const start = seconds(session.resumePosition);
    this.set({ resumedAt: start });
    const uri = this.#format === "dash" ? session.dashUri : session.hlsUri;
    const renewed = () => this.#renewed(session.name);
    const tokens = new MediaTokens(mediaToken(session), async () => mediaToken(await renewed()));
    const licenses = new Licenses(licenseServers(session), async () => licenseServers(await renewed()));
    const telemetry = {
      ...telemetryAddress(session),
      session: session.name,
      service: this.#clients.telemetry,
      renew: async () => telemetryAddress(await renewed()),
    };
    await this.#player.play({
      ...{ uri, start, duration: length, tokens, licenses, asked, telemetry },
      maxHeight: maxHeight(session),
    });
    // The last frame may end a little after the presentation is said to.
    const end = length || Number.POSITIVE_INFINITY;
    const stop = reportProgress(this.#player.video, start, (position, last) =>
      this.#tell(session, Math.min(position, end), last),
    );
    this.gone.addEventListener("abort", stop, { once: true });
  }

  /** Hold the viewing's place until the page is left. */
  #keep({ name, keepInterval }: PlaybackSession): void {
    const leaving = this.#leaving(name);
    const end = () => leaving.end();
    window.addEventListener("pagehide", end, { once: true, signal: this.gone });
    this.gone.addEventListener("abort", end, { once: true });
    const keep = () => this.#clients.playback.keepPlaybackSession({ name }, { signal: this.gone });
    keepViewing(keep, seconds(keepInterval) * 1000, this.gone).catch((error) => {
      this.#player.video.pause();
      this.#fail(error);
    });
  }

  #leaving(session: string): Leaving {
    return new Leaving(session, () => this.#clients.session.account?.accessToken);
  }

  async #session(video: Video): Promise<PlaybackSession> {
    const requestId = uuid();
    const takeOver = new URLSearchParams(location.search).has("takeover");
    for (;;) {
      try {
        const wanted = { video: video.name, viewer: viewer() };
        const request = { parent: ORGANIZATION, session: wanted, requestId, takeOver, device: viewer() };
        const { session } = await this.#clients.playback.createPlaybackSession(request, {
          signal: this.gone,
        });
        if (session !== undefined) {
          return session;
        }
      } catch (error) {
        // The job says playable a moment before the player's service knows.
        if (toApiError(error).reason !== "VIDEO_NOT_PLAYABLE") {
          throw error;
        }
      }
      await sleep(500, this.gone);
    }
  }

  /** What the viewer said, or what holds for who said nothing. */
  #consent() {
    const asked = navigator as { globalPrivacyControl?: boolean };
    const signedIn = this.#clients.session.account !== undefined;
    return saidConsent(localStorage) ?? defaultConsent(signedIn, asked.globalPrivacyControl ?? false);
  }

  async #renewed(name: string): Promise<PlaybackSession> {
    const { session } = await this.#clients.playback.getPlaybackSession({ name }, { signal: this.gone });
    if (session === undefined) {
      throw new ApiError("the viewing is gone", Code.NotFound, "SESSION_UNKNOWN");
    }
    this.#player.reporter?.renewed(telemetryAddress(session));
    return session;
  }

  #tell(session: PlaybackSession, position: number, last: boolean): void {
    this.#player.log.add("progress", { position, last });
    if (last) {
      this.#leaving(session.name).tell(position);
      return;
    }
    const request = { session: session.name, position: duration(position) };
    // Losing one report is no harm: the next one follows in ten seconds.
    this.#clients.playback.updateProgress(request).catch((error) => {
      this.#player.log.add("progress-lost", { reason: toApiError(error).reason });
    });
  }

  #fail(error: unknown): void {
    if (this.gone.aborted) {
      return;
    }
    // What follows from the first error says less: without a key, Shaka goes on to find nothing playable.
    const shown = this.state.error ?? failure(error);
    this.#player.reporter?.error(errorCode(error, shown), true);
    this.set({ error: shown });
    this.#player.log.add("error", { message: String(error) });
  }

  protected override render() {
    const { video, job, error, resumedAt } = this.state;
    return html`${error && isRefusal(error) ? this.#paywall(error) : errorBox(error, () => location.reload())}
      ${video ? this.#player : nothing} ${this.#title}
      <h1>${video?.title || (video ? "Untitled" : "")}</h1>
      ${resumedAt > 0 ? this.#resumed(resumedAt) : nothing}
      ${job ? jobProgress(job) : nothing}
      ${video?.description ? html`<p class="description">${video.description}</p>` : nothing}
      ${video ? this.#formats() : nothing}`;
  }

  #paywall(refusal: ApiError) {
    const takeOver = () => location.assign(`${this.#address(this.#format)}&takeover`);
    this.#wall ??= new Paywall(this.#clients, this.#name ?? "", refusal, takeOver);
    return this.#wall;
  }

  /** The address of this page in a format; it stays the page of its title. */
  #address(format: Format): string {
    const asked = new URLSearchParams(location.search);
    asked.set("format", format);
    asked.delete("takeover");
    return `?${asked}`;
  }

  #formats() {
    return html`<nav class="formats" aria-label="Format">
      ${(["hls", "dash"] as const).map(
        (format) =>
          html`<a href=${this.#address(format)} aria-current=${format === this.#format ? "true" : nothing}>${format.toUpperCase()}</a>`,
      )}
    </nav>`;
  }

  #resumed(at: number) {
    const restart = () => {
      this.#player.video.currentTime = 0;
      this.set({ resumedAt: 0 });
    };
    return html`<p role="status">
      Resumed at ${clock(at)}. <button type="button" @click=${restart}>Start over</button>
    </p>`;
  }
}

customElements.define("watch-page", WatchPage);
