import { type Image, Image_Purpose } from "../gen/reelmesh/catalog/v1/title_pb";
import type { TitleSummary } from "../gen/reelmesh/discovery/v1/discovery_service_pb";

/** Pictures for a lying frame, the best first. */
export const LYING = [Image_Purpose.TILE, Image_Purpose.STILL, Image_Purpose.BACKDROP] as const;
/** Pictures for an upright frame. */
export const UPRIGHT = [Image_Purpose.POSTER] as const;
/** Pictures for the head of a page. */
export const WIDE = [Image_Purpose.BACKDROP, Image_Purpose.STILL, Image_Purpose.TILE] as const;

/** One picture in all its sizes, as the browser chooses among them. */
export interface Picture {
  src: string;
  srcset: string;
}

/** Return the picture for a frame: of the first purpose that there is one for, with words where there are such. */
export function choose(images: readonly Image[], purposes: readonly Image_Purpose[]): Picture | undefined {
  for (const purpose of purposes) {
    const fit = images.filter((image) => image.purpose === purpose);
    const [first] = fit.filter(({ language }) => language !== "").concat(fit);
    if (first !== undefined) {
      const sizes = fit
        .filter(({ language }) => language === first.language)
        .sort((one, other) => one.width - other.width);
      return {
        src: sizes.at(-1)?.uri ?? first.uri,
        srcset: sizes.map(({ uri, width }) => `${uri} ${width}w`).join(", "),
      };
    }
  }
  return undefined;
}

/** Return the hue, in degrees, that a title without a picture is drawn in: its genre's, so that a genre has one color. */
export function hueOf({ genres, displayTitle }: Pick<TitleSummary, "genres" | "displayTitle">): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of (genres[0] ?? displayTitle).toLowerCase()) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return hash % 360;
}
