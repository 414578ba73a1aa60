import { uuid } from "../api/ids";

const KEY = "viewer";

/** Return the name that this browser watches by, so that viewing can be resumed; made once. */
export function viewer(): string {
  const known = knownViewer();
  if (known !== undefined) {
    return known;
  }
  const made = uuid();
  localStorage.setItem(KEY, made);
  return made;
}

/** Return that name; undefined where nothing was watched yet, and nobody needs to be recognized. */
export function knownViewer(): string | undefined {
  return localStorage.getItem(KEY) ?? undefined;
}
