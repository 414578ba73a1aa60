import { uuid } from "../api/ids";

const KEY = "viewer";

/** Return the name that this browser watches by, so that viewing can be resumed; made once. */
export function viewer(): string {
  const known = localStorage.getItem(KEY);
  if (known !== null) {
    return known;
  }
  const made = uuid();
  localStorage.setItem(KEY, made);
  return made;
}
