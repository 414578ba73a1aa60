import type { PlaybackSession } from "../gen/reelmesh/playback/v1/session_pb";

/**
 * Return the greatest height that the arms of a viewing allow, in pixels: parameter "max_height", the least where several
 * experiments have one. Undefined where none does, or none that is a number.
 */
export function maxHeight({ experiments }: Pick<PlaybackSession, "experiments">): number | undefined {
  const heights = experiments
    .map(({ parameters }) => Number(parameters.max_height ?? Number.NaN))
    .filter((height) => height > 0);
  return heights.length > 0 ? Math.min(...heights) : undefined;
}
