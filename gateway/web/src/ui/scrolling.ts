/** What the browser keeps of an address that was left. */
interface Left {
  /** How far the page was scrolled down, in pixels. */
  y?: number;
}

/** Remember, with the present address, how far the page is scrolled: it is about to be left. */
export function rememberScroll(): void {
  const left: Left = { ...(history.state as Left | null), y: window.scrollY };
  history.replaceState(left, "");
}

/**
 * Scroll to where an address was left, as soon as `content` is long enough again: pages ask for what they show. Whoever
 * scrolls or types meanwhile is not disturbed.
 */
export function restoreScroll(state: unknown, content: HTMLElement): void {
  const y = (state as Left | null)?.y ?? 0;
  const done = new AbortController();
  const { signal } = done;
  const observer = new ResizeObserver(() => {
    if (document.documentElement.scrollHeight - window.innerHeight >= y) {
      window.scrollTo(0, y);
      done.abort();
    }
  });
  signal.addEventListener("abort", () => observer.disconnect());
  for (const type of ["wheel", "pointerdown", "touchstart", "keydown", "popstate"]) {
    window.addEventListener(type, () => done.abort(), { once: true, passive: true, signal });
  }
  observer.observe(content);
}
