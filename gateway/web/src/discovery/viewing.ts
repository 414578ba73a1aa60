import type { Clients } from "../api/clients";
import { ORGANIZATION } from "../api/names";
import { knownViewer } from "../player/viewer";
import { seconds } from "../ui/format";

/** How far a viewer is in a video, both in seconds; 0 where nobody knows. */
export interface Progress {
  position: number;
  duration: number;
}

/** Return for whom titles are looked for: in the browser's language. Where they are, the edge says. */
export function viewerContext(): { language: string } {
  return { language: navigator.language.slice(0, 35) };
}

/** Who watches, as services ask for it; without a viewer nobody in particular. */
export interface Who {
  parent: string;
  viewer: string;
}

/** Return whom this page is for. Who signed in is known by their token, whatever name stands here. */
export function whoWatches(session: Pick<Clients["session"], "account">): Who {
  return { parent: ORGANIZATION, viewer: knownViewer() ?? (session.account ? "me" : "") };
}

/** Return how far the viewer is in the videos that they began last; nothing where that cannot be known. */
export async function begun(
  playback: Pick<Clients["playback"], "listContinueWatching">,
  who: Who,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Progress>> {
  if (who.viewer === "") {
    return new Map();
  }
  try {
    const { progress } = await playback.listContinueWatching({ ...who, pageSize: 100 }, { signal });
    return new Map(
      progress.map((each) => [
        each.video,
        { position: seconds(each.position), duration: seconds(each.duration) },
      ]),
    );
  } catch {
    signal.throwIfAborted();
    return new Map(); // what is begun is a help, and the page is there without it
  }
}

/** Return what part of it is watched, from 0 to 1. */
export function share({ position, duration }: Progress): number {
  return duration > 0 ? Math.min(1, position / duration) : 0;
}
