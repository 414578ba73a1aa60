"""How a model is trained. It knows nothing of what trains it, so that the service does not load that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameters:
    """Of alternating least squares.

    On generated audiences (tools/reelmesh_tools/bench/taste.py) of 150 to 25,000 viewers these were the best, or nearly
    so. A regularization of 5 was better than neighbours of items for many viewers, and worse for few.
    """

    factors: int = 64
    """Numbers of a vector."""
    regularization: float = 40.0
    alpha: float = 20.0
    """How much more confident a strength of 1 makes."""
    iterations: int = 15
    seed: int = 20
    """The same data and the same seed make the same model."""
