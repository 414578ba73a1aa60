"""How a model is trained. It knows nothing of what trains it, so that the service does not load that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameters:
    """Of alternating least squares. What they are is what `reelmesh bench recommend` found best, or nearly so."""

    factors: int = 64
    """Numbers of a vector."""
    regularization: float = 5.0
    alpha: float = 10.0
    """How much more confident a strength of 1 makes."""
    iterations: int = 15
    seed: int = 20
    """The same data and the same seed make the same model."""
