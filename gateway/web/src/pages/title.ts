import { Code } from "@connectrpc/connect";
import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { ApiError, toApiError } from "../api/errors";
import { titleName, titlePath, watchPath } from "../api/names";
import { creditsSection } from "../discovery/credits";
import { episodesSection } from "../discovery/episodes";
import { languageName, valueName } from "../discovery/facets";
import { WIDE } from "../discovery/pictures";
import { type Playable, placeInSeries, playWords, toPlay } from "../discovery/playing";
import { mayPass, plainly } from "../discovery/problems";
import { frame, recommended, tile } from "../discovery/tile";
import { titleRow } from "../discovery/title-row";
import { browsePath } from "../discovery/view";
import { begun, type Progress, viewerContext, whoWatches } from "../discovery/viewing";
import { factsOf, KINDS, leaving, nameOf, placeOf } from "../discovery/words";
import { Title_Kind } from "../gen/reelmesh/catalog/v1/title_pb";
import type {
  GetTitleDetailsResponse,
  TitleSummary,
} from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { type RecommendedTitle, Row_Kind } from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { toldOnLeaving } from "../player/leaving";
import { View } from "../ui/view";
import "../discovery/discovery.css";

interface State {
  details: GetTitleDetailsResponse | undefined;
  /** How far the viewer is, by video, the latest first. */
  begun: ReadonlyMap<string, Progress>;
  /** Where the viewer is in a series. */
  going: Playable | undefined;
  season: TitleSummary | undefined;
  episodes: readonly TitleSummary[] | undefined;
  similar: readonly RecommendedTitle[];
  next: TitleSummary | undefined;
  error: ApiError | undefined;
}

/** `/title/{id}`: what a title is, who is in it, what belongs to it, and what is like it. */
export class TitlePage extends View<State> {
  readonly #clients: Clients;
  readonly #name: string | undefined;

  constructor(clients: Clients, id: string) {
    super({
      details: undefined,
      begun: new Map(),
      going: undefined,
      season: undefined,
      episodes: undefined,
      similar: [],
      next: undefined,
      error: undefined,
    });
    this.#clients = clients;
    this.#name = titleName(id);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  async #load(): Promise<void> {
    this.set({ error: undefined });
    try {
      const [details] = await Promise.all([this.#details(this.#name), this.#begun()]);
      const { title, parts } = details;
      document.title = `${title ? nameOf(title) : "Title"} · Reelmesh`;
      const episodes = parts.filter(({ kind }) => kind === Title_Kind.EPISODE);
      this.set({ details, episodes });
      await Promise.all([this.#seasons(details), this.#similar(), this.#next(title)]);
    } catch (error) {
      if (!this.gone.aborted) {
        this.set({ error: toApiError(error) });
      }
    }
  }

  async #details(name: string | undefined): Promise<GetTitleDetailsResponse> {
    if (name === undefined) {
      throw new ApiError("there is no such title", Code.NotFound, "TITLE_UNKNOWN");
    }
    const request = { name, viewer: viewerContext() };
    return await this.#clients.discovery.getTitleDetails(request, { signal: this.gone });
  }

  async #begun(): Promise<void> {
    // Who comes from a video has just said where they are in it.
    await toldOnLeaving();
    const who = whoWatches(this.#clients.session);
    this.set({ begun: await begun(this.#clients.playback, who, this.gone) });
  }

  async #seasons({ title, parts }: GetTitleDetailsResponse): Promise<void> {
    const seasons = parts.filter(({ kind }) => kind === Title_Kind.SEASON);
    if (title?.kind !== Title_Kind.SERIES) {
      return;
    }
    const who = whoWatches(this.#clients.session);
    const going = await placeInSeries(this.#clients.recommendations, title.title, who, this.gone);
    this.set({ going });
    const wanted = Number(new URLSearchParams(location.search).get("season") ?? going?.title.seasonNumber);
    const season = seasons.find(({ seasonNumber }) => seasonNumber === wanted) ?? seasons[0];
    if (season !== undefined) {
      await this.#season(season);
    }
  }

  async #season(season: TitleSummary): Promise<void> {
    this.set({ season, episodes: undefined });
    const { parts } = await this.#details(season.title);
    if (this.state.season === season) {
      this.set({ episodes: parts });
    }
  }

  async #similar(): Promise<void> {
    try {
      const request = { name: this.#name ?? "", context: viewerContext() };
      const { titles } = await this.#clients.recommendations.listSimilarTitles(request, {
        signal: this.gone,
      });
      this.set({ similar: titles });
    } catch {
      this.gone.throwIfAborted(); // without it the page has a row less
    }
  }

  async #next(title: TitleSummary | undefined): Promise<void> {
    if (title?.kind !== Title_Kind.EPISODE) {
      return;
    }
    try {
      const request = { name: title.title, context: viewerContext() };
      const next = await this.#clients.recommendations.getNextEpisode(request, { signal: this.gone });
      this.set({ next: next.title });
    } catch {
      this.gone.throwIfAborted(); // as above
    }
  }

  protected override render() {
    const { details, error } = this.state;
    return html`${error ? this.#problem(error) : nothing}
      ${!details && !error ? html`<p class="empty" role="status">Loading…</p>` : nothing}
      ${details?.title ? this.#page(details, details.title) : nothing}`;
  }

  #problem(error: ApiError) {
    return html`<div class="notice" role="alert">
      <p><strong>${plainly(error)}</strong> ${error.reason ? html`<code>${error.reason}</code>` : nothing}</p>
      <p>
        ${mayPass(error) ? html`<button type="button" @click=${() => void this.#load()}>Try again</button>` : nothing}
        <a href="/browse">Browse everything</a>
      </p>
    </div>`;
  }

  #page(details: GetTitleDetailsResponse, title: TitleSummary) {
    const { description, credits, extras, tags, collections } = details;
    return html`<article class="about">
      <div class="hero">
        ${frame(title, WIDE, "min(100vw, 72rem)")}
        <div>
          ${this.#parent(details, title)}
          <h1>${nameOf(title)}</h1>
          <p class="quiet">${this.#facts(details, title).join(" · ")}</p>
          ${this.#play(title)}
          <p>${title.synopsis}</p>
        </div>
      </div>
      ${description && description !== title.synopsis ? html`<p class="description">${description}</p>` : nothing}
      <ul class="links" aria-label="Genres and tags">
        ${title.genres.map((genre) => html`<li><a href=${browsePath("genre", genre)}>${valueName("genre", genre)}</a></li>`)}
        ${tags.map((tag) => html`<li><a href=${browsePath("tag", tag)}>#${tag}</a></li>`)}
      </ul>
      ${this.#parts(details, title)} ${creditsSection(credits)}
      ${
        collections.length > 0
          ? titleRow(
              "In collections",
              collections.map((each) => tile(each)),
            )
          : nothing
      }
      ${
        extras.length > 0
          ? titleRow(
              "Extras",
              extras.map((each) => this.#tile(each)),
            )
          : nothing
      } ${this.#alike(title)}
    </article>`;
  }

  #facts(details: GetTitleDetailsResponse, title: TitleSummary): string[] {
    const { ageRating, originalLanguage } = details;
    const ages = title.minimumAge > 0 ? `${title.minimumAge}+` : "";
    const said = factsOf(title).filter((fact) => fact !== ages || !ageRating);
    const rating = ageRating ? `${ageRating.system} ${ageRating.rating}` : "";
    const kind = placeOf(title) ? KINDS[title.kind] : "";
    const language = originalLanguage ? languageName(originalLanguage) : "";
    return [kind, ...said, rating, language, leaving(title, Date.now())].filter((fact) => fact !== "");
  }

  #parent({ parent }: GetTitleDetailsResponse, title: TitleSummary) {
    if (parent === undefined) {
      return nothing;
    }
    const series = title.series !== "" && title.series !== parent.title ? title.series : "";
    return html`<p class="quiet">
      ${series ? html`<a href=${titlePath(series)}>Series</a> › ` : nothing}<a href=${titlePath(parent.title)}>${nameOf(parent)}</a>
    </p>`;
  }

  #play(title: TitleSummary) {
    const { begun, episodes, going, next } = this.state;
    const playable = going
      ? { ...going, progress: going.progress ?? begun.get(going.title.video) }
      : toPlay(title, episodes ?? [], begun);
    const ahead =
      next &&
      html`<a class="button" href=${titlePath(next.title)}>Next: ${placeOf(next)} ${nameOf(next)}</a>`;
    if (playable === undefined) {
      const still = title.kind === Title_Kind.COLLECTION || (episodes === undefined && title.video === "");
      return still ? nothing : html`<p class="quiet">There is nothing to play here yet.</p>`;
    }
    return html`<p class="actions">
      <a class="button primary" href=${watchPath(playable.title.video, playable.title.title)}>${playWords(playable, title)}</a>
      ${ahead}
    </p>`;
  }

  #parts({ parts }: GetTitleDetailsResponse, title: TitleSummary) {
    if (parts.length === 0) {
      return nothing;
    }
    if (title.kind === Title_Kind.COLLECTION) {
      return html`<section aria-labelledby="parts">
        <h2 id="parts">In this collection</h2>
        <ul class="grid">${parts.map((each) => this.#tile(each))}</ul>
      </section>`;
    }
    const { season, episodes, begun } = this.state;
    const choose = (chosen: TitleSummary) => {
      history.replaceState(null, "", `${location.pathname}?season=${chosen.seasonNumber}`);
      this.#season(chosen).catch((error) => this.set({ error: toApiError(error) }));
    };
    const seasons = parts.filter(({ kind }) => kind === Title_Kind.SEASON);
    return episodesSection({ seasons, season, episodes, begun, choose });
  }

  #tile(title: TitleSummary) {
    return tile(title, { progress: this.state.begun.get(title.video) });
  }

  #alike(subject: TitleSummary) {
    const { similar } = this.state;
    const row = { kind: Row_Kind.UNSPECIFIED, subject };
    return similar.length > 0
      ? titleRow(
          "Similar titles",
          similar.map((each) => recommended(each, row)),
        )
      : nothing;
  }
}

customElements.define("title-page", TitlePage);
