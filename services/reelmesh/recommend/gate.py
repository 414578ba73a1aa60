"""Who may run: a model that is worse than the running one is refused, and so is one that cannot be right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelmesh.recommend.evaluation import Judged
from reelmesh.recommend.model import Reason, Refusal

LOSS = 0.03
"""Part of recall or NDCG that may be lost to the running model. Two models of the same quality, trained a day apart,
differ by about a hundredth; what nobody would notice shall not keep a newer one with newer titles from running."""
ERRORS = 2.0
"""Standard errors of the difference, viewer by viewer, that a loss has to exceed: with few viewers figures wobble, and
a model is only refused for what is no chance."""
COVERAGE_LOSS = 0.2
"""Part of coverage that may be lost. It moves more than recall when a library grows, and a fifth of it is seen by
viewers only in the long run."""


def numbers(factors: NDArray[np.float32]) -> Refusal | None:
    """Refuse vectors that are none."""
    invalid = int((~np.isfinite(factors)).any(axis=1).sum())
    if invalid:
        return Refusal(Reason.NUMBERS_INVALID, f"{invalid} of {len(factors)} titles have no numbers as vectors")
    if not factors.any():
        return Refusal(Reason.NUMBERS_INVALID, "all vectors are zero")
    return None


def refusal(new: Judged, running: Judged | None, popular: Judged) -> Refusal | None:
    """Say why a model may not take the running one's place; None where it may.

    The first model is held against what is most popular: one that is worse than that is of no use. Only the running
    model's coverage is held on to, as what is most popular covers almost nothing.
    """
    against = running if running is not None else popular
    worse = _loss("recall", new.recalls, against.recalls, against.name)
    if worse:
        return Refusal(Reason.RECALL_WORSE, worse)
    worse = _loss("NDCG", new.ndcgs, against.ndcgs, against.name)
    if worse:
        return Refusal(Reason.NDCG_WORSE, worse)
    if running is not None and new.coverage < running.coverage * (1 - COVERAGE_LOSS):
        return Refusal(
            Reason.COVERAGE_WORSE,
            f"coverage {new.coverage:.4f} is more than {COVERAGE_LOSS:.0%} below {running.coverage:.4f} of running",
        )
    return None


def _loss(what: str, new: NDArray[np.float64], old: NDArray[np.float64], name: str) -> str:
    """Say that the mean of a figure is worse than it may be; nothing where it is not."""
    lost = old - new
    error = float(lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else 0.0
    allowed = max(LOSS * float(old.mean()), ERRORS * error)
    if float(lost.mean()) <= allowed:
        return ""
    return f"{what} {new.mean():.4f} is below {old.mean():.4f} of {name} by more than {allowed:.4f}"
