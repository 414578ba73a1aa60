import { Code } from "@connectrpc/connect";
import type { ApiError } from "../api/errors";

/** What a viewer is told of a search that cannot be answered, by the reason that discovery gives. */
const WORDS: Readonly<Record<string, string>> = {
  QUERY_TOO_LONG: "These are too many words to search for; 256 characters are the most.",
  FACET_UNKNOWN: "There is no such filter; take it away and try again.",
  PAGE_TOO_DEEP: "Nobody looks so far: search for something narrower.",
  PAGE_TOKEN_INVALID: "The list has changed; begin it anew.",
  TITLE_UNKNOWN: "There is no such title, or it cannot be watched where you are.",
};

const AWAY = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Unknown,
  Code.Internal,
]);

/** Return in plain words what went wrong. */
export function plainly(error: ApiError): string {
  if (error.reason === "QUERY_INVALID") {
    const position = Number(error.metadata.position ?? Number.NaN);
    const where = Number.isInteger(position) ? ` It goes wrong at character ${position + 1}.` : "";
    return `This search cannot be read: look at its quotes and colons.${where}`;
  }
  const known = WORDS[error.reason];
  if (known !== undefined) {
    return known;
  }
  return AWAY.has(error.code)
    ? "This part of the site is away just now. Try again in a moment."
    : error.message;
}

/** True where trying again may help. */
export function mayPass(error: ApiError): boolean {
  return error.reason === "PAGE_TOKEN_INVALID" || AWAY.has(error.code) || error.retryable;
}
