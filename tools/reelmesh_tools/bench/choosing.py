"""`reelmesh bench choosing`: what should say that titles are alike, and how much a varied row costs.

The audience is generated over the generated library, with planted tastes: a viewer likes a few themes, people and pairs
of genres, and watches what has one of them, popular titles first; some of what they watch is of none. Nothing is real:
it says what finds such tastes, and what does not.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1.title_pb2 import Title as TitleMessage
from reelmesh.discovery.semantic import installed_model
from reelmesh.recommend import ranking
from reelmesh.recommend.candidates import CANDIDATES, Chooser, Likes, Stock, best, likes_of
from reelmesh.recommend.factors import Factors
from reelmesh.recommend.library import Library
from reelmesh_tools.library.generator import ORGANIZATION, titles

Floats = NDArray[np.float32]
Ranking = Callable[[Likes], Sequence[int]]
"""Orders rows for a viewer, the best first."""
CUTOFF = 20
COLD = 0.2
"""Part of titles that nobody has watched before those that are kept back."""
STRAY = 0.2
"""Part of viewings that are of nothing liked."""
WATCHED = (8, 40)
"""Titles that a viewer watches, from and to."""
JUDGES = 1500
"""Viewers that ways are judged by, at most."""
KEPT = 0.3
"""Part of them that is kept back."""
FACTORS, REGULARIZATION, ALPHA, ITERATIONS = 64, 5.0, 10.0, 15
"""Of the model, as it is trained by default."""
MMR = 0.7
"""What being wanted counts, where being unlike what stands in the row already counts the rest."""


def measure(count: int, viewers: int, seed: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Make a library and an audience, and hold ways to choose against each other.

    Returns what is printed: titles, viewers; content: recall, ndcg and milliseconds of each way to say what is alike,
    among titles that nobody has watched; fusion: the same among all titles for weights of likeness; rows: recall, mean
    likeness of two titles of a row, and genres in it, for ways to vary it.
    """
    progress("making a library")
    messages, library = [], Library()
    for message in titles(count, seed):
        message.name, message.revision = str(imported_name(ORGANIZATION, message.external_id)), 1
        library.put(message)
        messages.append(message)
    stock = Stock(1, library.of(ORGANIZATION).works())
    by_id = {message.name.rpartition("/")[2]: message for message in messages}
    works = [by_id[work.id] for work in stock.works]
    progress("making an audience")
    audience = _Audience(works, viewers, random.Random(seed))  # noqa: S311 - no secret
    result: dict[str, Any] = {"titles": count, "works": len(works), "viewers": viewers, "cutoff": CUTOFF}
    result["cold_works"] = int(audience.cold.sum())
    result["content"] = _content(stock, works, audience, progress)
    progress("training")
    chooser = Chooser(stock, _trained(stock, audience))
    result["fusion"] = {
        f"alike={weight}": _judge(chooser, audience, _fused(chooser, weight), None) for weight in (0.0, 0.25, 0.5, 1.0)
    }
    result["rows"] = _varied(chooser, audience)
    return result


class _Audience:
    """What each viewer watched, and what was kept back; rows of works."""

    def __init__(self, works: Sequence[TitleMessage], viewers: int, rng: random.Random) -> None:
        popularity = [1 / (1 + rng.random() * len(works)) ** 0.6 for _ in works]
        having: dict[str, list[int]] = defaultdict(list)
        for row, work in enumerate(works):
            likeable = [f"tag {tag}" for tag in work.tags[:1]]
            likeable += [f"person {credit.person}" for credit in work.credits[:4]]
            likeable += [f"genres {' '.join(pair)}" for pair in itertools.combinations(sorted(work.genres), 2)]
            for liking in likeable:
                having[liking].append(row)
        kinds: dict[str, list[str]] = defaultdict(list)
        for liking, rows in having.items():
            if len(rows) >= CUTOFF // 2:
                kinds[liking.partition(" ")[0]].append(liking)
        self.cold = np.array([rng.random() < COLD for _ in works])
        self.watched: list[list[int]] = []
        self.kept: list[list[int]] = []
        for _ in range(viewers):
            likes = [rng.choice(found) for found in kinds.values() for _ in range(rng.randint(1, 2))]
            seen: dict[int, bool] = {}
            for _ in range(rng.randint(*WATCHED)):
                pool: Sequence[int] = having[rng.choice(likes)] if rng.random() > STRAY else range(len(works))
                few = [pool[rng.randrange(len(pool))] for _ in range(4)]
                seen[max(few, key=popularity.__getitem__)] = True
            kept = {row for row in seen if self.cold[row] or rng.random() < KEPT}
            self.watched.append([row for row in seen if row not in kept])
            self.kept.append(sorted(kept))

    def likes(self, chooser: Chooser, viewer: int) -> Likes:
        ids = [chooser.stock.works[row].id for row in self.watched[viewer]]
        return likes_of(chooser, dict.fromkeys(ids, 1.0))


def _content(
    stock: Stock, works: Sequence[TitleMessage], audience: _Audience, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Judge ways to say what is alike, by titles that nobody has watched."""
    found, without = {}, Chooser(stock, None)
    progress("features")
    found["features"] = _judge(without, audience, _by_features(stock), audience.cold)
    matrix = _matrix(stock)
    for size in (64, 256):
        progress(f"singular values {size}")
        began = time.perf_counter()
        vectors, values, _ = svds(matrix, size, random_state=1)
        fitted = time.perf_counter() - began
        found[f"svd-{size}"] = _judge(without, audience, _by_vectors(_unit(vectors * values)), audience.cold)
        found[f"svd-{size}"]["fit_seconds"] = round(fitted, 2)
    meaning = installed_model()
    if meaning is None:
        return found  # it is an extra
    progress("sentence embeddings")
    for name, text in (("embeddings-synopsis", _synopsis), ("embeddings-all", _everything)):
        vectors = _unit(np.asarray(meaning.embed([text(work) for work in works]), np.float32))
        found[name] = _judge(without, audience, _by_vectors(vectors), audience.cold)
        found[f"features+{name}"] = _judge(without, audience, _both(stock, _by_vectors(vectors)), audience.cold)
    return found


def _synopsis(work: TitleMessage) -> str:
    spoken = {each.language: each.synopsis for each in work.localizations}
    return spoken.get("en") or work.localizations[0].synopsis


def _everything(work: TitleMessage) -> str:
    people = ", ".join(credit.person for credit in work.credits[:12])
    return f"{', '.join(work.genres)}. {', '.join(work.tags)}. {people}. {_synopsis(work)}"


def _matrix(stock: Stock) -> Any:
    vectors = [stock.content.vector(row) for row in range(len(stock.works))]
    rows = np.repeat(np.arange(len(vectors)), [len(vector.columns) for vector in vectors])
    columns = np.concatenate([vector.columns for vector in vectors])
    weights = np.concatenate([vector.weights for vector in vectors])
    return csr_matrix((weights, (rows, columns)))


def _unit(vectors: Floats) -> Floats:
    found: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return found.astype(np.float32)


def _by_features(stock: Stock) -> Ranking:
    def ranked(likes: Likes) -> Sequence[int]:
        return _order(stock.content.scores(stock.content.mix(likes.profile).vector), likes)

    return ranked


def _by_vectors(vectors: Floats) -> Ranking:
    def ranked(likes: Likes) -> Sequence[int]:
        weights = np.array(list(likes.profile.values()), np.float32)
        return _order(vectors @ (weights @ vectors[list(likes.profile)]), likes)

    return ranked


def _both(stock: Stock, other: Ranking) -> Ranking:
    first = _by_features(stock)
    return lambda likes: [each.row for each in ranking.fuse(first(likes), other(likes), 1.0)]


def _order(scores: Floats, likes: Likes) -> Sequence[int]:
    scores[list(likes.seen)] = 0
    return best(scores, 10 * CANDIDATES)


def _fused(chooser: Chooser, weight: float) -> Ranking:
    alike = _by_features(chooser.stock)

    def ranked(likes: Likes) -> Sequence[int]:
        together = _together(chooser, likes)
        return [each.row for each in ranking.fuse(together, alike(likes)[:CANDIDATES] if weight else [], weight)]

    return ranked


def _together(chooser: Chooser, likes: Likes) -> Sequence[int]:
    if likes.taste is None:
        return []
    return best(chooser.wanted(likes), CANDIDATES)


def _judge(chooser: Chooser, audience: _Audience, ranked: Ranking, among: NDArray[np.bool_] | None) -> dict[str, float]:
    """Return recall and NDCG of the first CUTOFF choices among some titles, means over viewers, and milliseconds."""
    return _figures(audience, lambda viewer: ranked(audience.likes(chooser, viewer)), among)


def _figures(
    audience: _Audience, ranked: Callable[[int], Sequence[int]], among: NDArray[np.bool_] | None
) -> dict[str, float]:
    recalls, gains, took = [], [], 0.0
    for viewer, kept in enumerate(audience.kept[:JUDGES]):
        wanted = {row for row in kept if among is None or among[row]}
        if not wanted or not audience.watched[viewer]:
            continue
        began = time.perf_counter()
        rows = ranked(viewer)
        took += time.perf_counter() - began
        chosen = [row for row in rows if among is None or among[row]][:CUTOFF]
        hits = [place for place, row in enumerate(chosen) if row in wanted]
        recalls.append(len(hits) / min(CUTOFF, len(wanted)))
        ideal = sum(1 / math.log2(2 + place) for place in range(min(CUTOFF, len(wanted))))
        gains.append(sum(1 / math.log2(2 + place) for place in hits) / ideal)
    return {
        "viewers": len(recalls),
        "recall": round(float(np.mean(recalls)), 4),
        "ndcg": round(float(np.mean(gains)), 4),
        "ms": round(1000 * took / max(1, len(recalls)), 2),
    }


def _trained(stock: Stock, audience: _Audience) -> Factors:
    """Train a model from what was watched; it knows nothing of cold titles."""
    rows = np.repeat(np.arange(len(audience.watched)), [len(each) for each in audience.watched])
    columns = np.array([row for each in audience.watched for row in each])
    strengths = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (rows[-1] + 1, len(stock.works)))
    known = np.unique(columns)
    als = AlternatingLeastSquares(
        factors=FACTORS, regularization=REGULARIZATION, iterations=ITERATIONS, num_threads=1, random_state=1
    )
    confidences = strengths[:, known].tocsr()
    confidences.data = (1 + ALPHA * confidences.data).astype(np.float32)
    als.fit(confidences, show_progress=False)
    ids = [stock.works[row].id for row in known]
    return Factors.of("bench", ids, als.item_factors, REGULARIZATION, ALPHA)


def _varied(chooser: Chooser, audience: _Audience) -> dict[str, Any]:
    """Judge rows of CUTOFF titles, varied in several ways."""

    def cap(part: float) -> Callable[[list[ranking.Ranked]], Sequence[int]]:
        return lambda ranked: [each.row for each in ranking.varied(ranked, chooser.genre, CUTOFF, part)]

    ways: dict[str, Callable[[list[ranking.Ranked]], Sequence[int]]] = {
        "as ranked": lambda ranked: [each.row for each in ranked[:CUTOFF]],
        "genre at most 0.3": cap(0.3),
        "genre at most 0.4": cap(0.4),
        "genre at most 0.5": cap(0.5),
        f"marginal relevance {MMR}": lambda ranked: _relevant(chooser.stock, ranked),
    }
    found = {}
    for name, way in ways.items():
        shown: dict[int, Sequence[int]] = {}

        def row_of(viewer: int, way: Any = way, shown: dict[int, Sequence[int]] = shown) -> Sequence[int]:
            shown[viewer] = way(chooser.for_viewer(audience.likes(chooser, viewer)))
            return shown[viewer]

        found[name] = _figures(audience, row_of, None)
        found[name]["likeness"] = round(float(np.mean([_likeness(chooser.stock, row) for row in shown.values()])), 4)
        genres = [len({chooser.stock.works[row].genres[:1] for row in each}) for each in shown.values()]
        found[name]["genres"] = round(float(np.mean(genres)), 2)
    return found


def _likeness(stock: Stock, rows: Sequence[int]) -> float:
    if len(rows) < 2:
        return 0.0
    matrix = _square(stock, rows)
    return float((matrix.sum() - np.trace(matrix)) / (len(rows) * (len(rows) - 1)))


def _square(stock: Stock, rows: Sequence[int]) -> Floats:
    mix = stock.content.mix(dict.fromkeys(rows, 1.0))
    shares = mix.shares * len(rows)
    found: Floats = shares @ shares.T
    return found


def _relevant(stock: Stock, ranked: list[ranking.Ranked]) -> Sequence[int]:
    """Choose by maximal marginal relevance (Carbonell, Goldstein 1998) among three times as many."""
    few = ranked[: 3 * CUTOFF]
    if not few:
        return []
    alike = _square(stock, [each.row for each in few])
    wanted = np.array([each.score for each in few]) / few[0].score
    taken: list[int] = []
    rest = list(range(len(few)))
    while rest and len(taken) < CUTOFF:
        nearest = alike[np.ix_(rest, taken)].max(axis=1) if taken else np.zeros(len(rest))
        taken.append(rest.pop(int(np.argmax(MMR * wanted[rest] - (1 - MMR) * nearest))))
    return [few[place].row for place in taken]
