import type { Clients } from "../api/clients";
import { ORGANIZATION } from "../api/names";
import type {
  Facet,
  SearchResponse_Highlight,
  TitleSummary,
} from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { COUNTED, type FindingView, facetFilters, ORDERS } from "./view";
import { viewerContext } from "./viewing";

/** Titles that a page shows before one asks for more. */
export const PAGE_SIZE = 24;
/** Most that the service gives at once. */
const MOST_AT_ONCE = 4 * PAGE_SIZE;

/** A title that was found, and where the words are. */
export interface Hit {
  title: TitleSummary;
  highlights: readonly SearchResponse_Highlight[];
}

/** What was found. */
export interface Found {
  hits: readonly Hit[];
  facets: readonly Facet[];
  /** How many there are; undefined where nobody counted. */
  total: number | undefined;
  /** Asks for what follows; empty where nothing does. */
  next: string;
}

/** Find what a view asks for, with all the pages that it shows. */
export async function find(
  discovery: Pick<Clients["discovery"], "search" | "browse">,
  view: FindingView,
  signal: AbortSignal,
): Promise<Found> {
  let found: Found = { hits: [], facets: [], total: undefined, next: "" };
  const wanted = view.pages * PAGE_SIZE;
  do {
    found = await more(discovery, view, found, wanted - found.hits.length, signal);
  } while (found.next !== "" && found.hits.length < wanted);
  return found;
}

/** Find what follows, up to so many titles. */
export async function more(
  discovery: Pick<Clients["discovery"], "search" | "browse">,
  view: FindingView,
  before: Found,
  count: number,
  signal: AbortSignal,
): Promise<Found> {
  const request = {
    parent: ORGANIZATION,
    viewer: viewerContext(),
    filters: facetFilters(view.filters),
    // What was counted once holds for all pages.
    facets: before.next === "" ? [...COUNTED] : [],
    pageSize: Math.min(count, MOST_AT_ONCE),
    pageToken: before.next,
  };
  if (view.query === "") {
    const answer = await discovery.browse({ ...request, order: ORDERS[view.order].order }, { signal });
    const hits = answer.titles.map((title) => ({ title, highlights: [] }));
    return joined(before, hits, answer);
  }
  const answer = await discovery.search({ ...request, query: view.query }, { signal });
  const hits = answer.hits.flatMap(({ title, highlights }) => (title ? [{ title, highlights }] : []));
  return { ...joined(before, hits, answer), total: Number(answer.total) };
}

function joined(
  before: Found,
  hits: readonly Hit[],
  answer: { facets: Facet[]; nextPageToken: string },
): Found {
  return {
    hits: [...before.hits, ...hits],
    facets: before.next === "" ? answer.facets : before.facets,
    total: before.total,
    next: answer.nextPageToken,
  };
}
