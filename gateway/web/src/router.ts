import { rememberScroll, restoreScroll } from "./ui/scrolling";

/** Makes the element of a page from the part of the path that its pattern names. */
export type Page = (part: string) => Promise<HTMLElement> | HTMLElement;

/** A path and its page. */
export interface Route {
  pattern: RegExp;
  title: string;
  page: Page;
}

/** Go to an address within the site, as a link to it does. */
export function navigate(path: string): void {
  rememberScroll();
  history.pushState(null, "", path);
  window.dispatchEvent(new PopStateEvent("popstate"));
}

/**
 * Show in `outlet` the page of the present address, and of every link within the site that is followed. `moved` is told of
 * each address as it is gone to, before its page is there: what somebody does while a page loads comes after.
 */
export function startRouter(outlet: HTMLElement, routes: Route[], moved: () => void): void {
  let latest = 0;
  const show = async () => {
    latest += 1;
    const turn = latest;
    moved();
    for (const { pattern, title, page } of routes) {
      const match = pattern.exec(location.pathname);
      if (match !== null) {
        const element = await page(match[1] ?? "");
        // A page that took long to load must not replace the one that was asked for after it.
        if (turn === latest) {
          document.title = `${title} · Reelmesh`;
          outlet.replaceChildren(element);
          markCurrent();
        }
        return;
      }
    }
  };
  document.addEventListener("click", (event) => {
    const link = (event.target as Element).closest("a");
    const elsewhere =
      link === null || link.origin !== location.origin || link.target !== "" || link.hash !== "";
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button !== 0;
    if (elsewhere || modified || event.defaultPrevented) {
      return;
    }
    event.preventDefault();
    rememberScroll();
    history.pushState(null, "", link.href);
    window.scrollTo(0, 0);
    outlet.focus({ preventScroll: true });
    void show();
  });
  // The browser would do so before the page has asked for what it shows.
  history.scrollRestoration = "manual";
  window.addEventListener("popstate", ({ state }) => {
    void show().then(() => {
      // A part of the page that was linked to is where the browser has gone already.
      if (location.hash === "") {
        restoreScroll(state, outlet);
      }
    });
  });
  void show();
}

function markCurrent(): void {
  for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
    if (link.pathname === location.pathname) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
}
