"""Sends a library's rows, and goes on where it was cut off; takes a library out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from reelmesh.catalog.v1 import library_service_pb2 as pb
from reelmesh_tools.client.platform import Platform, problem_of

PIECE_BYTES = 256 << 10
"""Bytes of a file that go in one message."""
ATTEMPTS = 8
"""Times in a row that an import which gets no further is begun anew."""
PAUSE_SECONDS = 1.0
"""Before that: nothing tells when the platform is back."""


@dataclass
class Tally:
    """What became of rows."""

    effects: Counter[str] = field(default_factory=Counter)
    """How many, by effect in lower case."""
    retries: int = 0

    @property
    def rows(self) -> int:
        """How many were answered."""
        return self.effects.total()

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """Return it as commands print it."""
        effects = ("created", "updated", "unchanged", "refused")
        return {
            **{effect: self.effects[effect] for effect in effects},
            "retries": self.retries,
            "seconds": round(seconds, 3),
            "rate": round(self.rows / seconds, 1) if seconds else 0.0,
        }


def effect_of(answer: pb.ImportTitlesResponse) -> str:
    """Return what became of a row, in lower case: created, updated, unchanged, refused."""
    return pb.ImportTitlesResponse.Effect.Name(answer.effect).removeprefix("EFFECT_").lower()


def send(
    platform: Platform,
    wanted: pb.ImportTitlesRequest.Settings,
    pieces: Callable[[], Iterable[bytes]],
    tally: Tally,
) -> Iterator[pb.ImportTitlesResponse]:
    """Import a file, and yield what became of each row.

    `pieces` gives the file from its beginning. It is sent anew when the platform was away: rows that were done are
    found unchanged, and not told a second time. Raises grpc.RpcError.
    """
    left = ATTEMPTS
    while True:
        before = tally.rows
        try:
            for place, answer in enumerate(platform.library.ImportTitles(_requests(wanted, pieces()))):
                if place >= tally.rows:
                    tally.effects[effect_of(answer)] += 1
                    yield answer
        except grpc.RpcError as error:
            left = ATTEMPTS if tally.rows > before else left - 1
            if not left or not problem_of(error).passing:
                raise
        else:
            return
        tally.retries += 1
        time.sleep(PAUSE_SECONDS)


def pieces_of(file: Path) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with file.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            yield piece


def gathered(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Yield rows, several together."""
    waiting = bytearray()
    for row in rows:
        waiting += row
        if len(waiting) >= PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def fetch(platform: Platform, row_format: pb.RowFormat.ValueType) -> Iterator[bytes]:
    """Yield an export in pieces. Raises grpc.RpcError."""
    for part in platform.library.ExportTitles(pb.ExportTitlesRequest(parent=platform.parent, format=row_format)):
        if part.data:
            yield part.data


def _requests(wanted: pb.ImportTitlesRequest.Settings, pieces: Iterable[bytes]) -> Iterator[pb.ImportTitlesRequest]:
    yield pb.ImportTitlesRequest(settings=wanted)
    for piece in pieces:
        yield pb.ImportTitlesRequest(data=piece)
