"""How good and how fast searches are in a seeded library, beside plain tantivy: BM25 and its own query parser.

The library is indexed here; it is searched in a process of its own, as by a replica, so that its memory is a replica's.
No server is needed, nor a running platform: what the way through the gateway costs is measured by `bench discovery`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import psutil  # type: ignore[import-untyped, unused-ignore]
import tantivy

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import BrowseQuery, Mode, Order, Popularity, SearchQuery, Viewer
from reelmesh.discovery.semantic import installed_model
from reelmesh.mesh.clock import SystemClock
from reelmesh_tools.bench import search_library
from reelmesh_tools.bench.judged import CUT, Judged, quality, queries
from reelmesh_tools.library.generator import ORGANIZATION

ASKER = Viewer(ORGANIZATION, "DE", "en")
FACETS = ("kind", "genre", "person", "decade")
MEASURED = 1000
"""Searches, suggestions and lists that are measured, each."""
CROWD_SECONDS = 5.0
"""How long threads search at once."""
_FILTERS: Sequence[Mapping[str, Sequence[str]]] = ({}, {"genre": ["war"]}, {"kind": ["film"]}, {"decade": ["1990"]})
_PLAIN_FIELDS = ("title", "synopsis", "people", "genres")


@dataclass(frozen=True, slots=True)
class Task:
    """What the process that searches is given."""

    folder: Path
    judged: Sequence[Judged]
    popularity: Popularity
    seed: int
    measured: int
    crowd_seconds: float


def measure(
    count: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
    measured: int = MEASURED,
    crowd_seconds: float = CROWD_SECONDS,
) -> dict[str, Any]:
    """Index a library of `count` titles, search it, and return what it took and how good it was."""
    clock = SystemClock()
    say("makes the library")
    titles = list(search_library.library(count, seed, clock.now()))
    landmarks = search_library.landmarks(seed, clock.now())
    now = clock.now().timestamp()
    findable = [each for each in titles if search_library.findable(each, ASKER, now)]
    judged = queries(landmarks, findable, seed)
    popularity = search_library.popularity(iter(titles), len(landmarks), seed)
    with TemporaryDirectory(prefix="reelmesh-search-") as folder:
        say("indexes")
        indexed = _indexed(Path(folder) / "index", titles, popularity)
        say("searches")
        # A process of its own, made anew: nothing of the library is in its memory.
        task = Task(Path(folder) / "index", judged, popularity, seed, measured, crowd_seconds)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            searched = pool.apply(search, (task,))
        say("indexes and searches plainly")
        plain = _plain(Path(folder) / "plain", findable, judged)
    return {
        "titles": count,
        "findable": len(findable),
        "queries": len(judged),
        "index": {**indexed, **searched.pop("index")},
        "ndcg_at_10": {**searched.pop("ndcg_at_10"), **plain.pop("ndcg_at_10")},
        **searched,
        "plain": plain,
    }


def search(task: Task) -> dict[str, Any]:
    """Open an index, search it, and return what it took and how good it was. Runs in a process of its own."""
    process = psutil.Process()
    before = process.memory_info().rss
    began = time.perf_counter()
    index = Index.open(task.folder, SystemClock(), installed_model())
    opened = time.perf_counter() - began
    index.set_popularity(task.popularity)
    index.commit()
    modes = {"lexical": Mode.LEXICAL, "hybrid": Mode.BEST, "semantic": Mode.SEMANTIC}
    good = {name: quality(task.judged, partial(_names, index, mode)) for name, mode in modes.items()}
    rng = random.Random(task.seed)  # noqa: S311 — the same searches again
    texts = list(itertools.islice(itertools.cycle(each.text for each in task.judged), task.measured))
    typed = [text[: rng.randint(1, len(text))] for text in texts if not text.startswith('"')]
    latency = {
        "search": _latency(lambda text: index.search(SearchQuery(ASKER, text, mode=Mode.LEXICAL)), texts),
        "search_hybrid": _latency(lambda text: index.search(SearchQuery(ASKER, text)), texts),
        "search_facets": _latency(
            lambda text: index.search(SearchQuery(ASKER, text, facets=FACETS, mode=Mode.LEXICAL)), texts
        ),
        "search_child": _latency(
            lambda text: index.search(SearchQuery(replace(ASKER, maximum_age=6), text, mode=Mode.LEXICAL)), texts
        ),
        "suggest": _latency(lambda text: index.suggest(text, ASKER), typed),
    }
    for order in Order:
        browse = [BrowseQuery(ASKER, order, each) for each in _FILTERS] * max(task.measured // 10, 1)
        latency[f"browse_{order.name.lower()}"] = _latency(index.browse, browse)
    rates = {str(threads): _rate(index, texts, threads, task.crowd_seconds) for threads in (1, 2, 4)}
    now = index.statistics()
    return {
        "index": {
            "megabytes": round(now.bytes / 1e6, 1),
            "segments": now.segments,
            "vectors": now.vectors,
            "open_seconds": round(opened, 2),
            "rss_megabytes": round(process.memory_info().rss / 1e6, 1),
            "rss_before_megabytes": round(before / 1e6, 1),
        },
        "ndcg_at_10": good,
        "latency_ms": latency,
        "searches_per_second_by_threads": rates,
    }


def _indexed(folder: Path, titles: Sequence[Title], popularity: Popularity) -> dict[str, float]:
    index = Index.open(folder, SystemClock(), installed_model())
    index.set_popularity(popularity)
    began = time.perf_counter()
    index.apply((each.name, each) for each in titles)
    index.commit()
    took = time.perf_counter() - began
    while index.set_popularity(popularity):  # what series are watched is known once their episodes are
        index.commit()
    index.commit()
    index.close()
    return {"seconds": round(took, 2), "titles_per_second": round(len(titles) / took, 1)}


def _names(index: Index, mode: Mode, each: Judged) -> list[str]:
    asked = SearchQuery(replace(ASKER, language=each.language), each.text, size=CUT, mode=mode)
    return [hit.title.title for hit in index.search(asked).hits]


def _latency(call: Callable[[Any], object], arguments: Sequence[object]) -> dict[str, float]:
    """Return percentiles of what calls took, milliseconds; the first round of them is not counted."""
    for each in arguments[: len(arguments) // 10]:
        call(each)
    took: list[float] = []
    for each in arguments:
        began = time.perf_counter()
        call(each)
        took.append((time.perf_counter() - began) * 1000)
    parts = quantiles(took, n=100, method="inclusive")
    return {
        "p50": round(parts[49], 2),
        "p95": round(parts[94], 2),
        "p99": round(parts[98], 2),
        "max": round(max(took), 2),
    }


def _rate(index: Index, texts: Sequence[str], threads: int, seconds: float) -> float:
    """Return how many searches a second threads of one process do together."""
    stop = threading.Event()

    def work(start: int) -> int:
        done = 0
        for text in itertools.islice(itertools.cycle(texts), start, None):
            if stop.is_set():
                break
            index.search(SearchQuery(ASKER, text, mode=Mode.LEXICAL))
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(work, at * len(texts) // threads) for at in range(threads)]
        stop.wait(seconds)
        stop.set()
        done = sum(each.result() for each in working)
    return round(done / (time.perf_counter() - began), 1)


def _plain(folder: Path, titles: Iterable[Title], judged: Sequence[Judged]) -> dict[str, Any]:
    """Index the same texts with tantivy's defaults, and ask the same queries of its own parser.

    It is given what the asker may find and nothing else: it does not filter.
    """
    folder.mkdir()
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("name", stored=True, tokenizer_name="raw")
    for each in _PLAIN_FIELDS:
        builder.add_text_field(each)
    index = tantivy.Index(builder.build(), str(folder))
    writer = index.writer(256 << 20, 1)
    began = time.perf_counter()
    for title in titles:
        document = tantivy.Document()
        document.add_text("name", title.name)
        for told in title.localizations:
            document.add_text("title", told.title)
            document.add_text("synopsis", told.synopsis)
        for credit in title.credits:
            document.add_text("people", credit.person)
        for genre in title.genres:
            document.add_text("genres", genre)
        writer.add_document(document)
    writer.commit()
    took = time.perf_counter() - began
    index.reload()
    searcher = index.searcher()

    def names(each: Judged, all_words: bool = False) -> list[str]:
        text = each.text.replace("person:", "people:")
        query, _ = index.parse_query_lenient(text, list(_PLAIN_FIELDS), conjunction_by_default=all_words)
        hits = searcher.search(query, CUT).hits
        return [str(searcher.doc(address).get_first("name")) for _, address in hits]

    return {
        "ndcg_at_10": {
            "plain": quality(judged, names),
            "plain_all_words": quality(judged, partial(names, all_words=True)),
        },
        "index_seconds": round(took, 2),
        "index_megabytes": round(sum(each.stat().st_size for each in folder.iterdir()) / 1e6, 1),
        "latency_ms": _latency(names, list(judged)),
    }
