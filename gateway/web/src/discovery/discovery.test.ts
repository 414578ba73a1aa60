import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Clients } from "../api/clients";
import { ApiError } from "../api/errors";
import { Image_Purpose, ImageSchema, Title_Kind } from "../gen/reelmesh/catalog/v1/title_pb";
import {
  BrowseRequest_Order,
  BrowseResponseSchema,
  FacetSchema,
  SearchResponseSchema,
  SuggestResponse_SuggestionSchema,
  type TitleSummary,
  TitleSummarySchema,
} from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import {
  Explanation_Reason,
  ExplanationSchema,
  GetHomeResponseSchema,
  Row_Kind,
} from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { choices, valueName } from "./facets";
import { find } from "./finding";
import { pieces } from "./highlights";
import { choose, hueOf, LYING, UPRIGHT } from "./pictures";
import { placeInSeries, playWords, toPlay } from "./playing";
import { plainly } from "./problems";
import { Suggester, type Suggestion } from "./suggester";
import { browsePath, type FindingView, facetFilters, readFinding, toggled, writeFinding } from "./view";
import { begun, share } from "./viewing";
import { factsOf, leaving, placeOf, reasonOf, rowName, runningTime } from "./words";

const TITLE = "organizations/default/titles/0192f0c1-0000-7000-8000-00000000000";
const VIDEO = "organizations/default/videos/0192f0c1-0000-7000-8000-00000000000";
const VIEW: FindingView = { query: "", filters: [], order: "popular", pages: 1 };
const SIGNAL = new AbortController().signal;

function title(number: number, more: MessageInitShape<typeof TitleSummarySchema> = {}): TitleSummary {
  const made = { title: `${TITLE}${number}`, displayTitle: `Title ${number}`, kind: Title_Kind.FILM };
  return create(TitleSummarySchema, { ...made, ...more });
}

beforeEach(() => vi.stubGlobal("navigator", { language: "en-GB", languages: ["en-GB"] }));

describe("the address of a search", () => {
  it("says what is looked for, and is read back", () => {
    const views: FindingView[] = [
      VIEW,
      { ...VIEW, query: 'person:"Ann Lee" & co', pages: 3 },
      {
        ...VIEW,
        order: "new",
        filters: [
          { facet: "genre", value: "crime & co" },
          { facet: "genre", value: "drama" },
          { facet: "language", value: "pt-BR" },
        ],
      },
    ];
    expect(views.map((view) => readFinding(new URL(writeFinding(view), "http://x").search))).toEqual(views);
    expect(writeFinding(VIEW)).toBe("/browse");
    expect(writeFinding({ ...VIEW, query: "a b" })).toBe("/search?q=a+b");
    expect(browsePath("person", "Ann Lee")).toBe("/browse?person=Ann+Lee");
  });

  it("looks for the usual where it says nothing, or nothing that is known", () => {
    expect(readFinding("?shoe=43&order=size&pages=-1&genre=")).toEqual(VIEW);
    expect(readFinding("?pages=1e9").pages).toBe(40);
    expect(readFinding("?genre=drama&genre=drama").filters).toHaveLength(1);
  });
});

describe("filters", () => {
  const drama = { facet: "genre", value: "drama" } as const;

  it("are put on and taken away", () => {
    expect(toggled([], drama)).toEqual([drama]);
    expect(toggled([drama], { ...drama })).toEqual([]);
  });

  it("are sent by facet", () => {
    const filters = [drama, { facet: "kind", value: "film" } as const, { ...drama, value: "crime" }];
    expect(facetFilters(filters)).toEqual([
      { facet: "genre", values: ["drama", "crime"] },
      { facet: "kind", values: ["film"] },
    ]);
  });

  it("offer what was counted, and what is chosen even where nothing has it", () => {
    const facet = create(FacetSchema, { facet: "genre", values: [{ value: "drama", titles: 12n }] });
    const offered = choices([facet], [{ facet: "genre", value: "crime" }, drama]);
    expect([...offered.keys()]).toEqual(["genre"]);
    expect(offered.get("genre")).toEqual([
      { ...drama, label: "Drama", titles: 12, chosen: true },
      { facet: "genre", value: "crime", label: "Crime", titles: undefined, chosen: true },
    ]);
  });

  it("have names that people read", () => {
    expect(valueName("decade", "1990")).toBe("1990s");
    expect(valueName("language", "pt-BR")).toBe("Brazilian Portuguese");
    expect(valueName("language", "?")).toBe("?");
    expect(valueName("person", "ann Lee")).toBe("ann Lee");
  });
});

describe("finding", () => {
  it("browses without words, with facets once, until all pages are there", async () => {
    const asked: Record<string, unknown>[] = [];
    const discovery = {
      async browse(request: Record<string, unknown>) {
        asked.push(request);
        const last = request.pageToken === "2";
        const titles = Array.from({ length: request.pageSize as number }, (_, index) => title(index));
        return create(BrowseResponseSchema, {
          titles,
          facets: last ? [] : [{ facet: "kind" }],
          nextPageToken: last ? "3" : "2",
        });
      },
    } as unknown as Clients["discovery"];
    const found = await find(discovery, { ...VIEW, order: "new", pages: 5 }, SIGNAL);
    expect(found.hits).toHaveLength(120);
    expect(found).toMatchObject({ next: "3", total: undefined, facets: [{ facet: "kind" }] });
    expect(asked.map(({ pageSize, pageToken }) => [pageSize, pageToken])).toEqual([
      [96, ""],
      [24, "2"],
    ]);
    expect(asked.map(({ facets }) => (facets as string[]).length)).toEqual([4, 0]);
    expect(asked[0]).toMatchObject({ order: BrowseRequest_Order.NEW, viewer: { language: "en-GB" } });
  });

  it("searches by words, and says how many there are", async () => {
    const discovery = {
      search: async ({ query }: { query: string }) =>
        create(SearchResponseSchema, { hits: [{ title: title(1) }, {}], total: query === "ann" ? 7n : 0n }),
    } as unknown as Clients["discovery"];
    const found = await find(discovery, { ...VIEW, query: "ann", pages: 2 }, SIGNAL);
    expect(found).toMatchObject({ total: 7, next: "" });
    expect(found.hits.map((hit) => hit.title.displayTitle)).toEqual(["Title 1"]);
  });
});

describe("highlights", () => {
  const marked = (text: string, ...ranges: [number, number][]) =>
    pieces(
      text,
      ranges.map(([start, end]) => ({ start, end })),
    ).map(({ text, found }) => (found ? `[${text}]` : text));

  it("are counted in code points", () => {
    expect(marked("🎬🎬 film", [3, 7])).toEqual(["🎬🎬 ", "[film]"]);
    expect(marked("plain")).toEqual(["plain"]);
    expect(marked("", [0, 3])).toEqual([]);
  });

  it("survive ranges that overlap, are out of order or beyond the end", () => {
    expect(marked("abcdef", [4, 9], [0, 2], [1, 3])).toEqual(["[ab]", "[c]", "d", "[ef]"]);
  });
});

describe("suggesting", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    return () => void vi.useRealTimers();
  });

  const suggestion = (query: string) => create(SuggestResponse_SuggestionSchema, { query });

  it("asks once the hand rests, for what is typed then", async () => {
    const asked: string[] = [];
    const shown: string[][] = [];
    const ask = async (prefix: string) => {
      asked.push(prefix);
      return [suggestion(`${prefix}!`)];
    };
    const suggester = new Suggester(ask, (all: Suggestion[]) => shown.push(all.map(({ query }) => query)));
    for (const text of ["m", "ma", " mat"]) {
      void suggester.typed(text);
      await vi.advanceTimersByTimeAsync(30);
    }
    await vi.advanceTimersByTimeAsync(200);
    expect(asked).toEqual(["mat"]);
    expect(shown).toEqual([["mat!"]]);
  });

  it("gives the earlier request up, whose answer is never shown", async () => {
    const signals: AbortSignal[] = [];
    const answers: ((all: Suggestion[]) => void)[] = [];
    const shown: string[][] = [];
    const suggester = new Suggester(
      (_prefix, signal) => {
        signals.push(signal);
        return new Promise((resolve) => answers.push(resolve));
      },
      (all) => shown.push(all.map(({ query }) => query)),
    );
    void suggester.typed("ma");
    await vi.advanceTimersByTimeAsync(200);
    void suggester.typed("mat");
    await vi.advanceTimersByTimeAsync(200);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
    answers[1]?.([suggestion("matrix")]);
    answers[0]?.([suggestion("mad")]);
    await vi.advanceTimersByTimeAsync(0);
    expect(shown).toEqual([["matrix"]]);
  });

  it("shows nothing for nothing, and where the service is away", async () => {
    const shown: unknown[] = [];
    const suggester = new Suggester(
      () => Promise.reject(new Error("away")),
      (all) => shown.push(all),
    );
    await suggester.typed("  ");
    void suggester.typed("ma");
    await vi.advanceTimersByTimeAsync(200);
    expect(shown).toEqual([[], []]);
  });
});

describe("pictures", () => {
  const image = (purpose: Image_Purpose, width: number, language = "") =>
    create(ImageSchema, { purpose, width, height: 9, uri: `/p/${width}`, language });

  it("are of the best purpose there is, in all sizes", () => {
    const images = [
      image(Image_Purpose.BACKDROP, 1920),
      image(Image_Purpose.TILE, 640),
      image(Image_Purpose.TILE, 320),
    ];
    expect(choose(images, LYING)).toEqual({ src: "/p/640", srcset: "/p/320 320w, /p/640 640w" });
    expect(choose(images, UPRIGHT)).toBeUndefined();
  });

  it("carry the viewer's words where there are such", () => {
    const images = [image(Image_Purpose.POSTER, 200), image(Image_Purpose.POSTER, 300, "de")];
    expect(choose(images, UPRIGHT)).toEqual({ src: "/p/300", srcset: "/p/300 300w" });
  });

  it("have a color by genre where there are none", () => {
    const [crime, other] = [title(1, { genres: ["Crime"] }), title(2, { genres: ["crime", "drama"] })];
    expect(hueOf(crime)).toBe(hueOf(other));
    expect(hueOf(crime)).not.toBe(hueOf(title(3, { genres: ["drama"] })));
    expect(hueOf(title(4))).toBeGreaterThanOrEqual(0);
  });
});

describe("words", () => {
  const episode = title(2, { kind: Title_Kind.EPISODE, seasonNumber: 1, episodeNumber: 2 });

  it("say where an episode stands", () => {
    expect(placeOf(episode)).toBe("S1 E2");
    expect(placeOf({ ...episode, seasonNumber: 0 })).toBe("Episode 2");
    expect(placeOf(title(3, { kind: Title_Kind.SEASON, seasonNumber: 4 }))).toBe("Season 4");
    expect(placeOf(title(1))).toBe("");
  });

  it("say what a title is", () => {
    const film = title(1, { year: 1999, minimumAge: 12, runningTime: { seconds: 5520n } });
    expect(factsOf(film)).toEqual(["Film", "1999", "1 h 32 min", "12+"]);
    expect(factsOf(title(1))).toEqual(["Film"]);
    expect([0, 20, 3600, 150].map(runningTime)).toEqual(["", "20 s", "1 h", "3 min"]);
  });

  it("say until when it is there, near the end", () => {
    const until = (days: number) => leaving({ availableUntil: timestampFromMs(days * 86_400_000) }, 0);
    expect(until(31)).toBe("");
    expect(until(2)).toMatch(/^Until .*1970/);
    expect(leaving({}, 0)).toBe("");
  });

  it("name a row", () => {
    expect(rowName({ kind: Row_Kind.BECAUSE_YOU_WATCHED, subject: title(1) })).toBe(
      "Because you watched Title 1",
    );
    expect(rowName({ kind: Row_Kind.POPULAR })).toBe("Popular in your country");
    expect(rowName({ kind: 99 as Row_Kind })).toBe("More to watch");
  });

  it("say why, unless the row has said so", () => {
    const why = (reason: Explanation_Reason, row: Parameters<typeof reasonOf>[1], of: TitleSummary[] = []) =>
      reasonOf(
        create(ExplanationSchema, { reason, becauseOf: of, shared: ["crime", "drama", "Ann Lee"] }),
        row,
      );
    const home = { kind: Row_Kind.FOR_YOU };
    const because = { kind: Row_Kind.BECAUSE_YOU_WATCHED, subject: title(1) };
    const { WATCHED_TOGETHER, ALIKE, POPULAR, TRENDING, NEXT } = Explanation_Reason;
    expect(why(WATCHED_TOGETHER, home, [title(1), title(2), title(3)])).toBe(
      "Because you watched Title 1 and Title 2",
    );
    expect(why(WATCHED_TOGETHER, because, [title(1)])).toBe("Often watched together");
    expect(why(ALIKE, home, [title(2)])).toBe("Like Title 2: crime, drama and Ann Lee");
    expect(why(ALIKE, because, [title(1)])).toBe("Also: crime, drama and Ann Lee");
    expect(why(POPULAR, home)).toBe("Popular in your country");
    expect(why(TRENDING, { kind: Row_Kind.TRENDING })).toBe("");
    expect(why(NEXT, { kind: Row_Kind.CONTINUE_WATCHING })).toBe("Next episode");
    expect(reasonOf(undefined, home)).toBe("");
  });
});

describe("what a title's page plays", () => {
  const episode = (number: number, video = `${VIDEO}${number}`) =>
    title(number, { kind: Title_Kind.EPISODE, video, seasonNumber: 1, episodeNumber: number });
  const series = title(9, { kind: Title_Kind.SERIES });

  it("is the title, from where one left", () => {
    const film = title(1, { video: `${VIDEO}1` });
    const fresh = toPlay(film, [], new Map());
    expect(fresh && playWords(fresh, film)).toBe("Play");
    const again = toPlay(film, [], new Map([[film.video, { position: 83.4, duration: 100 }]]));
    expect(again && playWords(again, film)).toBe("Resume at 1:23");
  });

  it("is the episode that was begun last, or else the first", () => {
    const episodes = [episode(1, ""), episode(2), episode(3)];
    const first = toPlay(series, episodes, new Map());
    expect(first && playWords(first, series)).toBe("Play S1 E2");
    const begun = new Map([
      ["another", { position: 1, duration: 2 }],
      [`${VIDEO}3`, { position: 60, duration: 100 }],
      [`${VIDEO}2`, { position: 5, duration: 100 }],
    ]);
    const latest = toPlay(series, episodes, begun);
    expect(latest && playWords(latest, series)).toBe("Resume S1 E3 at 1:00");
    expect(toPlay(series, [episode(1, "")], begun)).toBeUndefined();
  });

  it("is where one is in the series, as the home page has it", async () => {
    const next = title(5, { ...episode(5), series: series.title });
    const rows = [{ kind: Row_Kind.CONTINUE_WATCHING, titles: [{ title: episode(4) }, { title: next }] }];
    const recommendations = {
      getHome: async () => create(GetHomeResponseSchema, { rows }),
    } as unknown as Clients["recommendations"];
    const who = { parent: "organizations/default", viewer: "me" };
    const found = await placeInSeries(recommendations, series.title, who, SIGNAL);
    expect(found?.title.title).toBe(next.title);
    expect(found?.progress).toBeUndefined();
    expect(
      await placeInSeries(recommendations, series.title, { ...who, viewer: "" }, SIGNAL),
    ).toBeUndefined();
  });
});

describe("what was begun", () => {
  const who = { parent: "organizations/default", viewer: "me" };

  it("is known by video, the latest first", async () => {
    const progress = [2, 1].map((number) => ({
      video: `${VIDEO}${number}`,
      position: { seconds: 3n, nanos: 500_000_000 },
      duration: { seconds: 7n, nanos: 0 },
    }));
    const playback = { listContinueWatching: async () => ({ progress }) } as unknown as Clients["playback"];
    const known = await begun(playback, who, SIGNAL);
    expect([...known.keys()]).toEqual([`${VIDEO}2`, `${VIDEO}1`]);
    expect(share(known.get(`${VIDEO}1`) ?? { position: 0, duration: 0 })).toBe(0.5);
    expect(share({ position: 1, duration: 0 })).toBe(0);
  });

  it("is nothing for nobody, and where the player's service is away", async () => {
    const listContinueWatching = vi.fn(() => Promise.reject(new Error("away")));
    const playback = { listContinueWatching } as unknown as Clients["playback"];
    expect((await begun(playback, { ...who, viewer: "" }, SIGNAL)).size).toBe(0);
    expect(listContinueWatching).not.toHaveBeenCalled();
    expect((await begun(playback, who, SIGNAL)).size).toBe(0);
  });
});

describe("problems", () => {
  it("are told in plain words", () => {
    const invalid = new ApiError("x", Code.InvalidArgument, "QUERY_INVALID", "reelmesh.discovery", {
      position: "4",
    });
    expect(plainly(invalid)).toContain("It goes wrong at character 5.");
    expect(plainly(new ApiError("x", Code.InvalidArgument, "PAGE_TOO_DEEP"))).toContain("narrower");
    expect(plainly(new ApiError("connection refused", Code.Unavailable))).toContain("away just now");
    expect(plainly(new ApiError("you may not", Code.PermissionDenied))).toBe("you may not");
  });
});
