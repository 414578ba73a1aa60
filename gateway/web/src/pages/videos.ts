import { html, nothing, type TemplateResult } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { ORGANIZATION, watchPath } from "../api/names";
import { type Video, Video_State } from "../gen/reelmesh/catalog/v1/video_pb";
import { clock, moment, seconds } from "../ui/format";
import { errorBox, stateBadge } from "../ui/parts";
import { View } from "../ui/view";

const PAGE_SIZE = 24;

interface State {
  videos: Video[];
  /** Asks for the next page; empty where there is none. */
  next: string;
  loading: boolean;
  error: ApiError | undefined;
}

/** `/videos`: every video, newest first. */
export class VideosPage extends View<State> {
  readonly #client: Clients["videos"];

  constructor({ videos }: Pick<Clients, "videos">) {
    super({ videos: [], next: "", loading: true, error: undefined });
    this.#client = videos;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  async #load(): Promise<void> {
    this.set({ loading: true, error: undefined });
    try {
      const request = { parent: ORGANIZATION, pageSize: PAGE_SIZE, pageToken: this.state.next };
      const { videos, nextPageToken } = await this.#client.listVideos(request, { signal: this.gone });
      this.set({ videos: [...this.state.videos, ...videos], next: nextPageToken, loading: false });
    } catch (error) {
      if (!this.gone.aborted) {
        this.set({ error: toApiError(error), loading: false });
      }
    }
  }

  protected override render() {
    const { videos, next, loading, error } = this.state;
    const empty = videos.length === 0 && !loading && error === undefined;
    return html`<h1>Videos</h1>
      ${empty ? html`<p class="empty">Nothing here yet. <a href="/upload">Upload the first video</a>.</p>` : nothing}
      <ul class="videos">
        ${videos.map(card)}
      </ul>
      ${errorBox(error, () => void this.#load())}
      <div class="more" aria-busy=${loading}>
        ${loading ? html`<p role="status">Loading…</p>` : nothing}
        ${next && !loading && !error ? html`<button type="button" @click=${() => void this.#load()}>Show more</button>` : nothing}
      </div>`;
  }
}

function card(video: Video): TemplateResult {
  const length = seconds(video.duration);
  const poster = video.artwork.find((picture) => picture.kind === "poster");
  const title = video.title || "Untitled";
  const open = video.state === Video_State.DRAFT || video.state === Video_State.FAILED;
  return html`<li class="card">
    <div class="poster" aria-hidden="true">
      ${poster ? html`<img src=${poster.uri} alt="" loading="lazy" />` : title.charAt(0).toUpperCase()}
      ${length > 0 ? html`<span class="length">${clock(length)}</span>` : nothing}
    </div>
    <h2>${open ? title : html`<a href=${watchPath(video.name)}>${title}</a>`}</h2>
    <p class="facts">
      ${stateBadge(video.state)} ${video.failureReason ? html`<code>${video.failureReason}</code>` : nothing}
      <time>${moment(video.createTime)}</time>
    </p>
  </li>`;
}

customElements.define("videos-page", VideosPage);
