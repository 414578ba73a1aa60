import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Credit_Role, Title_Kind } from "../gen/reelmesh/catalog/v1/title_pb";
import type { TitleSummary } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import {
  type Explanation,
  Explanation_Reason,
  type Row,
  Row_Kind,
} from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { seconds } from "../ui/format";

/** What pages call the kinds of titles. */
export const KINDS: Readonly<Record<Title_Kind, string>> = {
  [Title_Kind.UNSPECIFIED]: "",
  [Title_Kind.FILM]: "Film",
  [Title_Kind.SERIES]: "Series",
  [Title_Kind.SEASON]: "Season",
  [Title_Kind.EPISODE]: "Episode",
  [Title_Kind.EXTRA]: "Extra",
  [Title_Kind.COLLECTION]: "Collection",
};

/** What pages call those who did something for a title, in the order that they are told. */
export const ROLES: readonly (readonly [Credit_Role, string])[] = [
  [Credit_Role.CREATOR, "Created by"],
  [Credit_Role.DIRECTOR, "Directed by"],
  [Credit_Role.WRITER, "Written by"],
  [Credit_Role.ACTOR, "Cast"],
  [Credit_Role.VOICE, "Voices"],
  [Credit_Role.HOST, "Presented by"],
  [Credit_Role.PRODUCER, "Produced by"],
  [Credit_Role.COMPOSER, "Music"],
  [Credit_Role.CINEMATOGRAPHER, "Camera"],
  [Credit_Role.EDITOR, "Cut by"],
  [Credit_Role.OTHER, "With"],
];

/** Return what a title is called. */
export function nameOf(title: Pick<TitleSummary, "displayTitle">): string {
  return title.displayTitle || "Untitled";
}

/** Return where an episode or a season stands: "S1 E2", "Season 2", "Episode 3"; empty for what has no place. */
export function placeOf(title: Pick<TitleSummary, "kind" | "seasonNumber" | "episodeNumber">): string {
  const { kind, seasonNumber, episodeNumber } = title;
  if (kind === Title_Kind.SEASON) {
    return seasonNumber > 0 ? `Season ${seasonNumber}` : "";
  }
  if (kind !== Title_Kind.EPISODE || episodeNumber === 0) {
    return "";
  }
  return seasonNumber > 0 ? `S${seasonNumber} E${episodeNumber}` : `Episode ${episodeNumber}`;
}

/** Return what lists say of a title below its name. */
export function factsOf(title: TitleSummary): string[] {
  const standing = placeOf(title) || KINDS[title.kind];
  const year = title.year > 0 ? `${title.year}` : "";
  const age = title.minimumAge > 0 ? `${title.minimumAge}+` : "";
  return [standing, year, runningTime(seconds(title.runningTime)), age].filter((fact) => fact !== "");
}

/** Write how long something runs, given in seconds: "1 h 32 min"; empty for 0. */
export function runningTime(length: number): string {
  const minutes = Math.round(length / 60);
  if (minutes === 0) {
    return length > 0 ? `${Math.round(length)} s` : "";
  }
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  return [hours > 0 ? `${hours} h` : "", rest > 0 ? `${rest} min` : ""]
    .filter((part) => part !== "")
    .join(" ");
}

/** Return until when a title can be watched, in words, where that is no more than 30 days from `now`, in milliseconds. */
export function leaving(title: Pick<TitleSummary, "availableUntil">, now: number): string {
  if (title.availableUntil === undefined) {
    return "";
  }
  const end = timestampDate(title.availableUntil);
  return end.getTime() - now > 30 * 86_400_000
    ? ""
    : `Until ${end.toLocaleDateString(undefined, { dateStyle: "medium" })}`;
}

/** Return what a row of the home page is called. */
export function rowName(row: Pick<Row, "kind" | "subject">): string {
  switch (row.kind) {
    case Row_Kind.CONTINUE_WATCHING:
      return "Continue watching";
    case Row_Kind.FOR_YOU:
      return "For you";
    case Row_Kind.BECAUSE_YOU_WATCHED:
      return row.subject ? `Because you watched ${nameOf(row.subject)}` : "Because of what you watched";
    case Row_Kind.TRENDING:
      return "Trending";
    case Row_Kind.NEW:
      return "New";
    case Row_Kind.POPULAR:
      return "Popular in your country";
    default:
      return "More to watch"; // a kind that came after this page was made
  }
}

/** Reasons that a row's name has told already. */
const TOLD: Readonly<Partial<Record<Row_Kind, Explanation_Reason>>> = {
  [Row_Kind.TRENDING]: Explanation_Reason.TRENDING,
  [Row_Kind.NEW]: Explanation_Reason.NEW,
  [Row_Kind.POPULAR]: Explanation_Reason.POPULAR,
};

/**
 * Return why a title is shown, in a line; empty where its row says so already. `row` is the row that it stands in, and its
 * subject the title that all of the row is about.
 */
export function reasonOf(explanation: Explanation | undefined, row: Pick<Row, "kind" | "subject">): string {
  if (explanation === undefined || TOLD[row.kind] === explanation.reason) {
    return "";
  }
  const others = explanation.becauseOf.filter(({ title }) => title !== row.subject?.title);
  const names = listed(others.slice(0, 2).map(nameOf));
  const shared = listed(explanation.shared.slice(0, 3));
  switch (explanation.reason) {
    case Explanation_Reason.WATCHED_TOGETHER:
      return names ? `Because you watched ${names}` : "Often watched together";
    case Explanation_Reason.ALIKE:
      return alike(names, shared);
    case Explanation_Reason.POPULAR:
      return "Popular in your country";
    case Explanation_Reason.TRENDING:
      return "Watched more than before";
    case Explanation_Reason.NEW:
      return "New";
    case Explanation_Reason.NEXT:
      return "Next episode";
    default:
      return "";
  }
}

function alike(names: string, shared: string): string {
  if (names === "") {
    return shared ? `Also: ${shared}` : "Alike";
  }
  return shared ? `Like ${names}: ${shared}` : `Like ${names}`;
}

/** Write several words as a list: "crime, drama and Ann Lee". */
export function listed(words: readonly string[]): string {
  return new Intl.ListFormat("en-GB", { type: "conjunction" }).format(words);
}
