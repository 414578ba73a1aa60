import type { Clients } from "../api/clients";
import { Title_Kind } from "../gen/reelmesh/catalog/v1/title_pb";
import type { TitleSummary } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { Row_Kind } from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { clock, seconds } from "../ui/format";
import { type Progress, viewerContext, type Who } from "./viewing";
import { placeOf } from "./words";

/** What the button of a title's page plays. */
export interface Playable {
  title: TitleSummary;
  progress: Progress | undefined;
}

/**
 * Return what of a title is played: itself, or of its episodes the one that was begun last, or else the first. Undefined
 * where there is no video. `begun` has the latest first.
 */
export function toPlay(
  title: TitleSummary,
  episodes: readonly TitleSummary[],
  begun: ReadonlyMap<string, Progress>,
): Playable | undefined {
  if (title.video !== "") {
    return { title, progress: begun.get(title.video) };
  }
  const playable = episodes.filter(({ video, kind }) => video !== "" && kind === Title_Kind.EPISODE);
  for (const [video, progress] of begun) {
    const episode = playable.find((each) => each.video === video);
    if (episode !== undefined) {
      return { title: episode, progress };
    }
  }
  const [first] = playable;
  return first && { title: first, progress: undefined };
}

/** Return what the button says: "Play", "Resume at 1:23", with the episode where it is one of several. */
export function playWords({ title, progress }: Playable, of: TitleSummary): string {
  const which = title.title === of.title ? "" : ` ${placeOf(title)}`.trimEnd();
  return progress && progress.position > 0 ? `Resume${which} at ${clock(progress.position)}` : `Play${which}`;
}

/** Return where a viewer is in a series: what they began of it, or its next episode; undefined where they are nowhere. */
export async function placeInSeries(
  recommendations: Pick<Clients["recommendations"], "getHome">,
  series: string,
  who: Who,
  signal: AbortSignal,
): Promise<Playable | undefined> {
  if (who.viewer === "") {
    return undefined;
  }
  try {
    const { rows } = await recommendations.getHome(
      { ...who, context: viewerContext(), rowSize: 50 },
      { signal },
    );
    const going = rows.find(({ kind }) => kind === Row_Kind.CONTINUE_WATCHING)?.titles ?? [];
    const found = going.find(({ title }) => title?.series === series && title.video !== "");
    return (
      found?.title && {
        title: found.title,
        progress: found.position && { position: seconds(found.position), duration: seconds(found.duration) },
      }
    );
  } catch {
    signal.throwIfAborted();
    return undefined; // one can always begin at the beginning
  }
}
