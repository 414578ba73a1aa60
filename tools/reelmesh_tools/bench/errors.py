"""What ends a measurement."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement cannot be made or is worth nothing; the message says why."""
