"""What a viewer's own rows are made of, before discovery says what of it they may find."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reelmesh.recommend.candidates import Chooser, likes_of
from reelmesh.recommend.explanations import Explaining, Explanation, Reason, of_similar
from reelmesh.recommend.interactions import strengths, weights
from reelmesh.recommend.library import EPISODE, Holdings, Title
from reelmesh.recommend.ranking import varied
from reelmesh.recommend.viewing import Watched

SUBJECTS = 3
"""Rows about something that was watched, at most."""
MORE, SPARE = 2, 10
"""So many times what is shown is asked for, and some: not all is for this viewer, or stands on the page already."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A title that may be shown."""

    title: str
    """Its id."""
    explanation: Explanation
    position: timedelta | None = None
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A viewer's own rows."""

    going_on: Sequence[Pick] = ()
    for_you: Sequence[Pick] = ()
    because: Sequence[tuple[str, Sequence[Pick]]] = ()
    """Works that were watched, latest first, with what resembles each."""
    seen: frozenset[str] = frozenset()
    """Ids of works that were begun: they are in no other row."""
    model: str = ""
    """Id of the model that chose; empty for none."""

    def names(self) -> list[str]:
        """Return the ids of all titles that are needed, each once."""
        found: dict[str, None] = {}
        for pick in (*self.going_on, *self.for_you, *(pick for _, picks in self.because for pick in picks)):
            found[pick.title] = None
            found.update(dict.fromkeys(pick.explanation.because_of))
        found.update(dict.fromkeys(subject for subject, _ in self.because))
        return list(found)


def plan(chooser: Chooser, held: Holdings, history: Sequence[Watched], now: datetime, size: int) -> Plan:
    """Plan the rows of a viewer, given what they watched, latest first."""
    spoken = strengths_of(held, history, now)
    likes = likes_of(chooser, spoken)
    wanted = MORE * size + SPARE
    for_you: list[Pick] = []
    explaining = Explaining(chooser, likes)
    for ranked in varied(chooser.for_viewer(likes) if likes.seen else (), chooser.genre, wanted):
        explanation = explaining.of(ranked)
        if explanation is not None:
            for_you.append(Pick(chooser.stock.works[ranked.row].id, explanation))
    because = []
    for row in _subjects(chooser, spoken):
        unseen = (ranked for ranked in chooser.similar(row) if ranked.row not in likes.seen)
        picks = [
            Pick(chooser.stock.works[ranked.row].id, of_similar(chooser, ranked, row))
            for ranked in itertools.islice(unseen, size + SPARE)
        ]
        because.append((chooser.stock.works[row].id, picks))
    model = chooser.model.name if chooser.model is not None and likes.taste is not None else ""
    return Plan(going_on(held, history)[:wanted], for_you, because, frozenset(spoken), model)


def going_on(held: Holdings, history: Sequence[Watched]) -> list[Pick]:
    """Return what a viewer may go on with, latest first: what they left off in, or the episode after what they saw.

    A series counts once, as far as its episode that was watched last.
    """
    by_title: dict[str, Watched] = {}
    for watched in history:
        title = held.of_video(watched.video)
        if title is not None:
            by_title.setdefault(title.id, watched)
    found: dict[str, Pick | None] = {}
    for id_, watched in by_title.items():
        title = held.get(id_)
        work = held.work_of(title) if title is not None else None
        if title is None or work is None or work.id in found:
            continue
        if watched.position is not None:
            found[work.id] = _begun(title, watched)
        elif title.kind == EPISODE:
            found[work.id] = _next(held, title, by_title)
    return [pick for pick in found.values() if pick is not None]


def _next(held: Holdings, episode: Title, watched: dict[str, Watched]) -> Pick | None:
    following = held.next_episode(episode)
    while following is not None:
        seen = watched.get(following.id)
        if seen is None:
            return Pick(following.id, Explanation(Reason.NEXT))
        if seen.position is not None:
            return _begun(following, seen)
        following = held.next_episode(following)
    return None


def _begun(title: Title, watched: Watched) -> Pick:
    return Pick(title.id, Explanation(Reason.BEGUN), watched.position, watched.duration)


def _subjects(chooser: Chooser, spoken: Mapping[str, float]) -> list[int]:
    rows = [chooser.stock.rows[work] for work, strength in spoken.items() if strength and work in chooser.stock.rows]
    return rows[:SUBJECTS]


def strengths_of(held: Holdings, history: Sequence[Watched], now: datetime) -> dict[str, float]:
    """Return the works that were watched, by id, latest first, with how strongly each speaks, as a model learned it.

    0 for one that was hardly looked at.
    """
    counts = weights(
        [watched.watched.total_seconds() for watched in history],
        [watched.watched / watched.duration if watched.duration else 0.0 for watched in history],
        [(now - watched.time) / timedelta(days=1) for watched in history],
    )
    totals: dict[str, float] = {}
    for watched, count in zip(history, counts.tolist(), strict=True):
        title = held.of_video(watched.video)
        work = held.work_of(title) if title is not None else None
        if work is not None:
            totals[work.id] = totals.get(work.id, 0.0) + count
    return dict(zip(totals, strengths(list(totals.values())).tolist(), strict=True))
