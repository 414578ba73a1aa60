"""How strongly it speaks for a title that someone watched it.

The same is said of a viewer's history when they are asked for, so that a model sees them as it learned to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

LOOK_SECONDS = 60.0
"""Who watched for less only looked: it says nothing for a title…"""
LOOK_PART = 0.1
"""…unless it is so much of it."""
WHOLE_SECONDS = 40 * 60.0
"""Watching for so long counts as whole, where nobody knows how long a video is."""
HALF_DAYS = 180.0
"""Days after which a viewing counts half: tastes change within seasons, not weeks."""


def weights(watch_seconds: ArrayLike, completions: ArrayLike, age_days: ArrayLike) -> Doubles:
    """Return how much each watched video counts, from 0 to 1: how much of it was watched, and how long ago.

    `completions` are parts of videos, 0 where their length is not known; `age_days` says how long ago a viewing began.
    """
    watched, part = np.asarray(watch_seconds, np.float64), np.asarray(completions, np.float64)
    age = np.maximum(np.asarray(age_days, np.float64), 0)
    whole = np.where(part > 0, part, watched / WHOLE_SECONDS)
    counts = (watched >= LOOK_SECONDS) | (part >= LOOK_PART)
    found: Doubles = np.where(counts, np.clip(whole, 0, 1), 0) * 0.5 ** (age / HALF_DAYS)
    return found


def strengths(totals: ArrayLike) -> Doubles:
    """Return how strongly titles speak, from the sum of the weights of what was watched of each.

    A film that was watched has about 1. Episodes add up, each to less than the one before: eight of them have about 3.
    """
    found: Doubles = np.log2(1 + np.asarray(totals, np.float64))
    return found
