"""Why a title is shown: computed from what put it there, so that it is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from reelmesh.recommend.candidates import Chooser, Likes
from reelmesh.recommend.factors import Taste
from reelmesh.recommend.library import Title
from reelmesh.recommend.ranking import Ranked

MOST = 3
"""Titles that are named as a reason, at most."""
SHARE = 0.15
"""Part of all that speaks for a title that one has to have to be named."""


class Reason(Enum):
    """Kinds of reasons, as the contract names them."""

    BEGUN = "REASON_BEGUN"
    TOGETHER = "REASON_WATCHED_TOGETHER"
    ALIKE = "REASON_ALIKE"
    POPULAR = "REASON_POPULAR"
    TRENDING = "REASON_TRENDING"
    NEW = "REASON_NEW"
    NEXT = "REASON_NEXT"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a title is shown."""

    reason: Reason
    because_of: Sequence[str] = field(default=())
    """Ids of works that the viewer watched, the strongest first."""
    shared: Sequence[str] = field(default=())
    """Genres and people that it has in common with those."""


def of_similar(chooser: Chooser, ranked: Ranked, row: int) -> Explanation:
    """Say why a title is among those that resemble another."""
    one, other = chooser.stock.works[row], chooser.stock.works[ranked.row]
    reason = Reason.TOGETHER if ranked.together > ranked.alike else Reason.ALIKE
    return Explanation(reason, (one.id,), in_common(other, [one]))


def of_choice(chooser: Chooser, ranked: Ranked, likes: Likes) -> Explanation | None:
    """Say why a title was chosen for a viewer; None where nothing that they watched speaks for it."""
    if ranked.together > ranked.alike and likes.taste is not None:
        speaking = _by_taste(chooser, ranked.row, likes.taste)
        reason = Reason.TOGETHER
    else:
        own = chooser.stock.content.vector(ranked.row)
        speaking = {row: weight * chooser.stock.content.likeness(own, row) for row, weight in likes.profile.items()}
        reason = Reason.ALIKE
    total = sum(value for value in speaking.values() if value > 0)
    strongest = sorted(speaking, key=lambda row: -speaking[row])[:MOST]
    named = [chooser.stock.works[row] for row in strongest if speaking[row] > SHARE * total]
    if not named:
        return None
    shared = in_common(chooser.stock.works[ranked.row], named)
    return Explanation(reason, [work.id for work in named], shared)


def _by_taste(chooser: Chooser, row: int, taste: Taste) -> Mapping[int, float]:
    """Return what each watched work adds to the score of one that the model knows."""
    parts = taste.contributions(chooser.factors_of([row]))[0].tolist()
    rows = chooser.stock.rows
    return {rows[title]: part for title, part in zip(taste.titles, parts, strict=True) if title in rows}


def in_common(one: Title, others: Sequence[Title]) -> Sequence[str]:
    """Return the genres and people that a title has in common with any of others, in its own order."""
    theirs = {word for other in others for word in (*other.genres, *other.people)}
    return [word for word in dict.fromkeys((*one.genres, *one.people)) if word in theirs]
