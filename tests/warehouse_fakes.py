"""A warehouse that only listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Recorder:
    """Writes down what a warehouse is told."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    async def rows(self, _query: object) -> Sequence[Sequence[Any]]:
        return ()

    async def run(self, _statement: object, settings: object = None) -> None:
        pass

    async def define(self, statement: str) -> None:
        self.statements.append(statement)
