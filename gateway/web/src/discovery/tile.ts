import { html, nothing, type TemplateResult } from "lit";
import { titlePath, watchPath } from "../api/names";
import { type Image, Image_Purpose } from "../gen/reelmesh/catalog/v1/title_pb";
import type { TitleSummary } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import {
  type RecommendedTitle,
  type Row,
  Row_Kind,
} from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { clock, seconds } from "../ui/format";
import { choose, hueOf, LYING } from "./pictures";
import { type Progress, share } from "./viewing";
import { factsOf, leaving, nameOf, reasonOf } from "./words";

/** What a tile shows beside its title. */
export interface TileOptions {
  /** Where it leads; the title's page where it is absent. */
  href?: string;
  progress?: Progress | undefined;
  /** A line below. */
  line?: string;
}

/** A title in a row or a list, all of it a link. */
export function tile(title: TitleSummary, { href, progress, line }: TileOptions = {}): TemplateResult {
  const begun = progress !== undefined && progress.position > 0;
  const said = begun ? `Resumes at ${clock(progress.position)}` : leaving(title, Date.now());
  return html`<li class="tile-of-title">
    <a href=${href ?? titlePath(title.title)}>
      ${frame(title, LYING, "15rem", progress)}
      <span class="name">${nameOf(title)}</span>
      <span class="quiet">${factsOf(title).join(" · ")}</span>
      ${said ? html`<span class="said">${said}</span>` : nothing}
      ${line ? html`<span class="quiet line">${line}</span>` : nothing}
    </a>
  </li>`;
}

/** A title that was chosen for the viewer; one to continue is played at once. */
export function recommended(
  each: RecommendedTitle,
  row: Pick<Row, "kind" | "subject">,
): TemplateResult | typeof nothing {
  const { title, explanation, position, duration } = each;
  if (title === undefined) {
    return nothing;
  }
  const progress = position && { position: seconds(position), duration: seconds(duration) };
  const goesOn = row.kind === Row_Kind.CONTINUE_WATCHING && title.video !== "";
  const href = goesOn ? { href: watchPath(title.video, title.title) } : {};
  return tile(title, { ...href, progress, line: reasonOf(explanation, row) });
}

/**
 * A title's picture, over a drawn one: its name on its genre's color, which stays where there is no picture or none comes.
 * `width` is how wide it is shown, as CSS has it.
 */
export function frame(
  title: TitleSummary,
  purposes: readonly Image_Purpose[],
  width: string,
  progress?: Progress,
): TemplateResult {
  const upright = purposes[0] === Image_Purpose.POSTER;
  return html`<span class="frame" ?data-upright=${upright} style="--hue: ${hueOf(title)}">
    <span class="drawn" aria-hidden="true">${nameOf(title)}</span>
    ${image(title.images, purposes, width)}
    ${
      progress && progress.position > 0
        ? html`<span class="watched" aria-hidden="true" style="--share: ${(100 * share(progress)).toFixed(1)}%"></span>`
        : nothing
    }
  </span>`;
}

function image(images: readonly Image[], purposes: readonly Image_Purpose[], width: string) {
  const picture = choose(images, purposes);
  if (picture === undefined) {
    return nothing;
  }
  const failed = (event: Event) => (event.target as HTMLElement).setAttribute("hidden", "");
  // "sizes" before "srcset", and "loading" before both: the browser begins with what it knows.
  return html`<img
    alt=""
    loading="lazy"
    decoding="async"
    sizes=${width}
    srcset=${picture.srcset}
    src=${picture.src}
    @error=${failed}
  />`;
}
