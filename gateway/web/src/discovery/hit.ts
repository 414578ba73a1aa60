import { html, nothing, type TemplateResult } from "lit";
import { titlePath } from "../api/names";
import type { SearchResponse_Highlight } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import type { Hit } from "./finding";
import { pieces } from "./highlights";
import { UPRIGHT } from "./pictures";
import { frame } from "./tile";
import { factsOf, nameOf } from "./words";

/** A title that was found by words, with the words marked. */
export function hitItem({ title, highlights }: Hit): TemplateResult {
  const of = (field: string) => highlights.filter((each) => each.field === field);
  const [name] = of("title");
  const [synopsis] = of("synopsis");
  const people = of("person");
  return html`<li class="hit">
    ${frame(title, UPRIGHT, "6rem")}
    <div>
      <h2><a href=${titlePath(title.title)}>${name ? marked(name) : nameOf(title)}</a></h2>
      <p class="quiet">${[...factsOf(title), ...title.genres.slice(0, 3)].join(" · ")}</p>
      <p>${synopsis ? marked(synopsis) : title.synopsis}</p>
      ${
        people.length > 0
          ? html`<p class="quiet">With ${people.map((each, index) => html`${index > 0 ? ", " : nothing}${marked(each)}`)}</p>`
          : nothing
      }
    </div>
  </li>`;
}

function marked({ text, ranges }: SearchResponse_Highlight) {
  return pieces(text, ranges).map((piece) => (piece.found ? html`<mark>${piece.text}</mark>` : piece.text));
}
