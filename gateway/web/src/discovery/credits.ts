import { html, nothing, type TemplateResult } from "lit";
import type { Credit } from "../gen/reelmesh/catalog/v1/title_pb";
import { browsePath } from "./view";
import { ROLES } from "./words";

/** People of one role that a page shows at once; the rest is behind a word. */
const MANY = 12;

/** Who made a title and who is in it; each name leads to what else they did. */
export function creditsSection(credits: readonly Credit[]): TemplateResult | typeof nothing {
  if (credits.length === 0) {
    return nothing;
  }
  return html`<section aria-labelledby="credits">
    <h2 id="credits">Cast and crew</h2>
    <dl class="credits">
      ${ROLES.map(([role, words]) => {
        const people = credits.filter((each) => each.role === role);
        return people.length > 0 ? html`<dt>${words}</dt><dd>${peopleOf(people)}</dd>` : nothing;
      })}
    </dl>
  </section>`;
}

function peopleOf(people: readonly Credit[]) {
  const rest = people.slice(MANY);
  return html`<ul>${people.slice(0, MANY).map(person)}</ul>
    ${
      rest.length > 0
        ? html`<details>
            <summary>${rest.length} more</summary>
            <ul>${rest.map(person)}</ul>
          </details>`
        : nothing
    }`;
}

function person({ person: name, character }: Credit) {
  return html`<li>
    <a href=${browsePath("person", name)}>${name}</a>${character ? html` <span class="quiet">as ${character}</span>` : nothing}
  </li>`;
}
