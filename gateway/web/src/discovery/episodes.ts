import { html, nothing, type TemplateResult } from "lit";
import { titlePath } from "../api/names";
import type { TitleSummary } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { clock } from "../ui/format";
import { LYING } from "./pictures";
import { frame } from "./tile";
import type { Progress } from "./viewing";
import { factsOf, nameOf, placeOf } from "./words";

/** What a list of episodes shows. */
export interface Episodes {
  seasons: readonly TitleSummary[];
  /** Season that is shown; undefined for a series without seasons. */
  season: TitleSummary | undefined;
  /** Undefined while they are asked for. */
  episodes: readonly TitleSummary[] | undefined;
  begun: ReadonlyMap<string, Progress>;
  choose: (season: TitleSummary) => void;
}

/** Episodes, of one season at a time. */
export function episodesSection({ seasons, season, episodes, begun, choose }: Episodes): TemplateResult {
  const chosen = (event: Event) => {
    const picked = seasons[(event.target as HTMLSelectElement).selectedIndex];
    if (picked !== undefined) {
      choose(picked);
    }
  };
  return html`<section aria-labelledby="episodes">
    <div class="heading">
      <h2 id="episodes">Episodes</h2>
      ${
        seasons.length > 0
          ? html`<span class="field">
              <label for="season">Season</label>
              <select id="season" @change=${chosen}>
                ${seasons.map(
                  (each) =>
                    html`<option ?selected=${each.title === season?.title}>${seasonName(each)}</option>`,
                )}
              </select>
            </span>`
          : nothing
      }
    </div>
    ${episodes === undefined ? html`<p class="empty" role="status">Loading…</p>` : nothing}
    <ol class="hits">
      ${episodes?.map((each) => episodeItem(each, begun.get(each.video)))}
    </ol>
  </section>`;
}

function seasonName(season: TitleSummary): string {
  const place = placeOf(season);
  const name = nameOf(season);
  return place === "" || name.includes(place) ? name : `${place}: ${name}`;
}

function episodeItem(episode: TitleSummary, progress: Progress | undefined) {
  return html`<li class="hit">
    ${frame(episode, LYING, "11rem", progress)}
    <div>
      <h3><a href=${titlePath(episode.title)}>${nameOf(episode)}</a></h3>
      <p class="quiet">${factsOf(episode).join(" · ")}</p>
      ${progress ? html`<p class="said">Resumes at ${clock(progress.position)}</p>` : nothing}
      <p>${episode.synopsis}</p>
    </div>
  </li>`;
}
