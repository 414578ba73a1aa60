import type { Facet } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { type Chosen, COUNTED, type FacetName, isChosen } from "./view";

/** A value that can be chosen. */
export interface Choice extends Chosen {
  label: string;
  /** Titles that have it among what was found; undefined where it was not counted. */
  titles: number | undefined;
  chosen: boolean;
}

/** Return what a page calls the value of a facet. */
export function valueName(facet: FacetName, value: string): string {
  switch (facet) {
    case "language":
      return languageName(value);
    case "decade":
      return value.endsWith("s") ? value : `${value}s`;
    case "kind":
    case "genre":
      return value.charAt(0).toUpperCase() + value.slice(1);
    default:
      return value;
  }
}

/** Return a language's name in the browser's language; the code where it has none. */
export function languageName(code: string): string {
  try {
    return new Intl.DisplayNames([...navigator.languages], { type: "language" }).of(code) ?? code;
  } catch {
    return code; // not a code at all
  }
}

/** Return the values that each counted facet offers. What is chosen stays, also where nothing that was found has it. */
export function choices(facets: readonly Facet[], filters: readonly Chosen[]): Map<FacetName, Choice[]> {
  const offered = new Map<FacetName, Choice[]>();
  for (const facet of COUNTED) {
    const counted = facets.find((each) => each.facet === facet)?.values ?? [];
    const listed = counted.map(({ value, titles }) => choice({ facet, value }, Number(titles), filters));
    const missing = filters.filter(
      (each) => each.facet === facet && !listed.some(({ value }) => value === each.value),
    );
    const all = [...listed, ...missing.map((each) => choice(each, undefined, filters))];
    if (all.length > 0) {
      offered.set(facet, all);
    }
  }
  return offered;
}

function choice(chosen: Chosen, titles: number | undefined, filters: readonly Chosen[]): Choice {
  return {
    ...chosen,
    label: valueName(chosen.facet, chosen.value),
    titles,
    chosen: isChosen(filters, chosen),
  };
}
