"""Builds of the index on disk: a folder for each, with what it is written in beside the index itself."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

_NOTE = "build.json"
_INDEX = "index"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a build; written after each commit, so that a crash repeats records and loses none."""

    version: int
    """Version of the index's schema."""
    build_time: datetime
    """When it was begun."""
    place: str = ""
    """Where the topic is read on; empty for its beginning."""
    time: datetime | None = None
    """When it was read up to there."""
    complete: bool = False
    """Whether it once reached the end of the topic: only then it may answer."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A build of the index."""

    path: Path
    note: Note

    @property
    def index(self) -> Path:
        """Folder of the index itself."""
        return self.path / _INDEX

    def written(self, place: str, time: datetime, *, complete: bool) -> Folder:
        """Write down how far the index is, once that is committed; return the folder with that."""
        changed = replace(self, note=replace(self.note, place=place, time=time, complete=complete))
        changed.save()
        return changed

    def save(self) -> None:
        """Write the note, whole."""
        note = self.note
        content = {
            "version": note.version,
            "build_time": note.build_time.isoformat(),
            "place": note.place,
            "time": note.time.isoformat() if note.time else None,
            "complete": note.complete,
        }
        beside = self.path / f"{_NOTE}.new"
        beside.write_text(json.dumps(content), encoding="utf-8")
        beside.replace(self.path / _NOTE)

    def remove(self) -> None:
        """Remove it. Searches that have it open go on: the system keeps their files until they end."""
        shutil.rmtree(self.path, ignore_errors=True)

    def size(self) -> int:
        """Return its size on disk, bytes."""
        total = 0
        for parent, _, names in os.walk(self.path):
            for name in names:
                try:
                    total += (Path(parent) / name).stat().st_size
                except FileNotFoundError:
                    continue  # merged away meanwhile
        return total


class Folders:
    """The builds of one replica, in a folder that belongs to its process alone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def all(self) -> Sequence[Folder]:
        """Return what is there, the latest begun first; what cannot be read is removed."""
        found = []
        for path in self._root.iterdir() if self._root.is_dir() else ():
            try:
                found.append(Folder(path, _read(path / _NOTE)))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s is no index of ours, and is removed: %s", path, error)
                shutil.rmtree(path, ignore_errors=True)
        return sorted(found, key=lambda folder: folder.note.build_time, reverse=True)

    def make(self, version: int, now: datetime, name: str) -> Folder:
        """Make a folder for a build that begins now; `name` is its own."""
        folder = Folder(self._root / f"v{version}-{name}", Note(version, now))
        folder.index.mkdir(parents=True)
        folder.save()
        return folder

    def keep(self, *kept: Folder) -> None:
        """Remove all others."""
        paths = {folder.path for folder in kept}
        for folder in self.all():
            if folder.path not in paths:
                folder.remove()


def _read(path: Path) -> Note:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Note(
        version=int(content["version"]),
        build_time=datetime.fromisoformat(content["build_time"]).astimezone(UTC),
        place=str(content["place"]),
        time=datetime.fromisoformat(content["time"]).astimezone(UTC) if content["time"] else None,
        complete=bool(content["complete"]),
    )
