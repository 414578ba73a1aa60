"""Why a title is shown: computed from what put it there, so that it is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from reelmesh.recommend.candidates import Chooser, Likes
from reelmesh.recommend.factors import Floats
from reelmesh.recommend.library import Title
from reelmesh.recommend.ranking import Ranked

_NOTHING: Floats = np.zeros(0, np.float32)
MOST = 3
"""Titles that are named as a reason, at most."""
NEARLY = 0.5
"""Part of what the strongest says for a title that another has to say to be named beside it."""


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


def of_similar(chooser: Chooser, ranked: Ranked, row: int) -> Explanation:
    """Say why a title is among those that resemble another."""
    reason = Reason.TOGETHER if ranked.together > ranked.alike else Reason.ALIKE
    return Explanation(reason, (chooser.stock.works[row].id,))


class Explaining:
    """Says why titles were chosen for a viewer."""

    def __init__(self, chooser: Chooser, likes: Likes) -> None:
        self._chooser = chooser
        self._likes = likes
        self._profile = list(likes.profile)
        self._mix = chooser.stock.content.mix(likes.profile)

    def of(self, ranked: Ranked) -> Explanation | None:
        """Say why one was; None where nothing that they watched speaks for it."""
        if ranked.together > ranked.alike and self._likes.taste is not None:
            reason, works, parts = Reason.TOGETHER, self._likes.taste.titles, self._together(ranked.row)
        else:
            works = [self._chooser.stock.works[row].id for row in self._profile]
            reason, parts = Reason.ALIKE, self._mix.parts(self._chooser.stock.content.vector(ranked.row))
        strongest = np.argsort(-parts, kind="stable")[:MOST].tolist()
        least = max(NEARLY * float(parts[strongest[0]]), 0.0) if strongest else 0.0
        named = [works[place] for place in strongest if parts[place] > 0 and parts[place] >= least]
        return Explanation(reason, named) if named else None

    def _together(self, row: int) -> Floats:
        """Return what each watched title that the model knows adds to the score of one."""
        taste = self._likes.taste
        return taste.contributions(self._chooser.factors_of([row]))[0] if taste is not None else _NOTHING


def in_common(one: Title, others: Sequence[Title]) -> Sequence[str]:
    """Return the genres and people that a title has in common with any of others, in its own order."""
    theirs = {word for other in others for word in (*other.genres, *other.people)}
    return [word for word in dict.fromkeys((*one.genres, *one.people)) if word in theirs]
