import { BrowseRequest_Order } from "../gen/reelmesh/discovery/v1/discovery_service_pb";

/** Facets that titles can be filtered by, as the contract and the address name them. */
export const FACETS = {
  kind: "Kind",
  genre: "Genre",
  language: "Original language",
  decade: "Decade",
  year: "Year",
  person: "Person",
  tag: "Tag",
  parent: "Part of",
  collection: "Collection",
} as const;

export type FacetName = keyof typeof FACETS;

/** Those whose values are counted and offered; the others come by links. */
export const COUNTED: readonly FacetName[] = ["kind", "genre", "language", "decade"];

/** Orders of what is browsed, by the words that the address uses. */
export const ORDERS = {
  popular: { label: "Popular", order: BrowseRequest_Order.POPULAR },
  trending: { label: "Trending", order: BrowseRequest_Order.TRENDING },
  new: { label: "New", order: BrowseRequest_Order.NEW },
  name: { label: "By name", order: BrowseRequest_Order.NAME },
  number: { label: "By number", order: BrowseRequest_Order.NUMBER },
} as const;

export type OrderName = keyof typeof ORDERS;

/** A value that titles have to have. */
export interface Chosen {
  facet: FacetName;
  value: string;
}

/** What is looked for; the page's address says so, and can be sent to someone else. */
export interface FindingView {
  /** Words; empty to browse. */
  query: string;
  /** Of one facet any, of all facets each. */
  filters: readonly Chosen[];
  /** Order of what is browsed; what was searched for is ordered by how well it fits. */
  order: OrderName;
  /** Pages that are shown. */
  pages: number;
}

/** Looks for something else. */
export type Go = (change: Partial<FindingView>) => void;

/** Beyond these, results are too deep to be asked for. */
export const MOST_PAGES = 40;

/** Read what the address asks for; what it does not say, or says wrongly, is the usual. */
export function readFinding(search: string): FindingView {
  const asked = new URLSearchParams(search);
  const filters = [...asked].flatMap(([facet, value]) =>
    isFacet(facet) && value !== "" ? [{ facet, value }] : [],
  );
  const order = asked.get("order") ?? "";
  const pages = Number(asked.get("pages") ?? 1);
  return {
    query: (asked.get("q") ?? "").trim(),
    filters: filters.filter((each, index) => filters.findIndex((other) => same(each, other)) === index),
    order: isOrder(order) ? order : "popular",
    pages: Number.isInteger(pages) && pages >= 1 ? Math.min(pages, MOST_PAGES) : 1,
  };
}

/** Write the address that asks for a view. */
export function writeFinding({ query, filters, order, pages }: FindingView): string {
  const asked = new URLSearchParams();
  if (query !== "") {
    asked.set("q", query);
  }
  for (const { facet, value } of filters) {
    asked.append(facet, value);
  }
  if (query === "" && order !== "popular") {
    asked.set("order", order);
  }
  if (pages > 1) {
    asked.set("pages", `${pages}`);
  }
  const said = asked.toString();
  return `${query === "" ? "/browse" : "/search"}${said ? `?${said}` : ""}`;
}

/** Return the address of all titles that have a value of a facet. */
export function browsePath(facet: FacetName, value: string): string {
  return writeFinding({ query: "", filters: [{ facet, value }], order: "popular", pages: 1 });
}

/** Return the address of a search. */
export function searchPath(query: string): string {
  return writeFinding({ query, filters: [], order: "popular", pages: 1 });
}

/** Return filters with one more where it is not there, without it where it is. */
export function toggled(filters: readonly Chosen[], chosen: Chosen): readonly Chosen[] {
  const rest = filters.filter((each) => !same(each, chosen));
  return rest.length < filters.length ? rest : [...filters, chosen];
}

/** Return whether a value is among the filters. */
export function isChosen(filters: readonly Chosen[], chosen: Chosen): boolean {
  return filters.some((each) => same(each, chosen));
}

/** Return filters as the contract has them: values by facet. */
export function facetFilters(filters: readonly Chosen[]): { facet: FacetName; values: string[] }[] {
  const named = [...new Set(filters.map(({ facet }) => facet))];
  return named.map((facet) => ({
    facet,
    values: filters.flatMap((each) => (each.facet === facet ? [each.value] : [])),
  }));
}

function same(one: Chosen, other: Chosen): boolean {
  return one.facet === other.facet && one.value === other.value;
}

export function isFacet(name: string): name is FacetName {
  return Object.hasOwn(FACETS, name);
}

export function isOrder(name: string): name is OrderName {
  return Object.hasOwn(ORDERS, name);
}
