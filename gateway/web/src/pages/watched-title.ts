import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { titlePath, watchPath } from "../api/names";
import { viewerContext } from "../discovery/viewing";
import { nameOf, placeOf } from "../discovery/words";
import { Title_Kind } from "../gen/reelmesh/catalog/v1/title_pb";
import type { TitleSummary } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { View } from "../ui/view";
import "../discovery/discovery.css";

interface State {
  title: TitleSummary | undefined;
  next: TitleSummary | undefined;
  ended: boolean;
}

/** Of which title a video is, and what follows it: offered once the video has ended. Without a title, nothing. */
export class WatchedTitle extends View<State> {
  readonly #clients: Pick<Clients, "discovery" | "recommendations">;
  readonly #name: string | undefined;
  readonly #video: HTMLVideoElement;

  constructor(
    clients: Pick<Clients, "discovery" | "recommendations">,
    name: string | undefined,
    video: HTMLVideoElement,
  ) {
    super({ title: undefined, next: undefined, ended: false });
    this.#clients = clients;
    this.#name = name;
    this.#video = video;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const at = { signal: this.gone };
    this.#video.addEventListener("ended", () => this.set({ ended: true }), at);
    this.#video.addEventListener("playing", () => this.set({ ended: false }), at);
    void this.#load();
  }

  async #load(): Promise<void> {
    const [name, signal] = [this.#name, this.gone];
    if (name === undefined) {
      return;
    }
    try {
      const viewer = viewerContext();
      const { title } = await this.#clients.discovery.getTitleDetails({ name, viewer }, { signal });
      this.set({ title });
      if (title?.kind === Title_Kind.EPISODE) {
        const next = await this.#clients.recommendations.getNextEpisode(
          { name, context: viewer },
          { signal },
        );
        this.set({ next: next.title });
      }
    } catch {
      // The video plays without it.
    }
  }

  protected override render() {
    const { title, next, ended } = this.state;
    const offered = ended && next !== undefined && next.video !== "";
    return html`${title ? html`<p><a href=${titlePath(title.title)}>${nameOf(title)}</a></p>` : nothing}
      <div role="status">
        ${
          offered
            ? html`<p class="notice">
                Next: ${placeOf(next)} ${nameOf(next)}
                <a class="button primary" href=${watchPath(next.video, next.title)}>Play the next episode</a>
              </p>`
            : nothing
        }
      </div>`;
  }
}

customElements.define("watched-title", WatchedTitle);
