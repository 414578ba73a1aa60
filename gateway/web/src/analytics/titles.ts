import type { Clients } from "../api/clients";
import { ORGANIZATION } from "../api/names";

/** Titles of videos, by resource name. Reports name videos only; those that were deleted keep their id. */
export class Titles {
  readonly known = new Map<string, string>();
  readonly #asked = new Set<string>();
  readonly #videos: Pick<Clients["videos"], "listVideos" | "getVideo">;
  #listing: Promise<void> | undefined;

  constructor(videos: Pick<Clients["videos"], "listVideos" | "getVideo">) {
    this.#videos = videos;
  }

  /** Learn the titles of `names`; one that cannot be had stays unknown. */
  async learn(names: Iterable<string>, signal: AbortSignal): Promise<void> {
    const unknown = () => [...names].filter((name) => !this.known.has(name) && !this.#asked.has(name));
    if (unknown().length > 0) {
      this.#listing ??= this.#list(signal);
      await this.#listing;
    }
    const rest = unknown();
    for (const name of rest) {
      this.#asked.add(name);
    }
    const found = await Promise.allSettled(rest.map((name) => this.#videos.getVideo({ name }, { signal })));
    for (const [index, name] of rest.entries()) {
      const answer = found[index];
      if (answer?.status === "fulfilled" && answer.value.video) {
        this.known.set(name, answer.value.video.title || "Untitled");
      }
    }
  }

  /** The newest are likely to be watched, and one request tells them all. */
  async #list(signal: AbortSignal): Promise<void> {
    const { videos } = await this.#videos.listVideos({ parent: ORGANIZATION, pageSize: 100 }, { signal });
    for (const { name, title } of videos) {
      this.known.set(name, title || "Untitled");
    }
  }
}
