/** How often a viewing's position is told while it is being watched, in milliseconds. */
const INTERVAL = 10_000;

/** Tells the position, in seconds; `last` means that the page is about to go. */
export type Tell = (position: number, last: boolean) => void;

/**
 * Tell how far `video` is, once that is no longer `start`, the second at which it began: every ten seconds while it plays,
 * at each pause and at the end, and when the page is left. Nothing is told twice. Returns the function that ends it, which
 * tells the position a last time: one who follows a link within the site leaves the video without leaving the page.
 */
export function reportProgress(video: HTMLVideoElement, start: number, tell: Tell): () => void {
  let told = start;
  const report = (last: boolean) => {
    if (video.currentTime !== told) {
      told = video.currentTime;
      tell(told, last);
    }
  };
  const soon = () => report(false);
  const leaving = () => report(true);
  const timer = setInterval(() => video.paused || report(false), INTERVAL);
  video.addEventListener("pause", soon);
  video.addEventListener("ended", soon);
  window.addEventListener("pagehide", leaving);
  return () => {
    leaving();
    clearInterval(timer);
    video.removeEventListener("pause", soon);
    video.removeEventListener("ended", soon);
    window.removeEventListener("pagehide", leaving);
  };
}
