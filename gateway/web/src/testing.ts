import type { PlayerElement } from "./player/element";
import type { PlayerEvent } from "./player/events";

/** What a test, or a person at the console, may look at on the watch page: `window.reelmesh`. */
export interface Hook {
  /** The Shaka Player; undefined until something is loaded. `player.getStats()` has its statistics. */
  readonly player: PlayerElement["shaka"];
  /** The video element. */
  readonly video: HTMLVideoElement;
  /** What happened since the page was opened, oldest first. */
  readonly events: readonly PlayerEvent[];
}

declare global {
  interface Window {
    reelmesh?: Hook;
  }
}

/** Let `window.reelmesh` show `element`. */
export function expose(element: PlayerElement): void {
  window.reelmesh = {
    get player() {
      return element.shaka;
    },
    video: element.video,
    events: element.log.entries,
  };
}
