"""The same edit of many titles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reelmesh.catalog.errors import EditEmpty
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.catalog.v1.title_service_pb2 import TitleEdit
from reelmesh.mesh.errors import DomainError, Unavailable
from reelmesh.mesh.names import TitleName

AT_ONCE = 16
"""Titles of one call that are edited side by side."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one title."""

    name: TitleName
    revision: int = 0
    changed: bool = False
    reason: str = ""
    """Why it was not edited; empty where all is well."""


async def edit_all(
    titles: Titles, names: Sequence[TitleName], edit: TitleEdit, author: str, *, dry_run: bool
) -> Sequence[Outcome]:
    """Edit each by itself, and say what became of it. Raises EditEmpty; Unavailable when nothing can be said of one."""
    if edit == TitleEdit():
        raise EditEmpty("edit: changes nothing", violations=[("edit", "changes nothing")])
    slots = asyncio.Semaphore(AT_ONCE)
    applied = editing(edit)

    async def one(name: TitleName) -> Outcome:
        try:
            async with slots:
                title, changed = await titles.change(name, applied, author, dry_run=dry_run)
        except Unavailable:
            raise
        except DomainError as error:
            return Outcome(name, reason=error.reason)
        return Outcome(name, title.revision, changed)

    return await asyncio.gather(*map(one, names))


def editing(edit: TitleEdit) -> Callable[[Title], Title]:
    """Return what makes of a title the edited one."""

    def edited(title: Title) -> Title:
        new = Title()
        new.CopyFrom(title)
        new.genres[:] = _words(title.genres, edit.add_genres, edit.remove_genres)
        new.tags[:] = _words(title.tags, edit.add_tags, edit.remove_tags)
        if edit.state:
            new.state = edit.state
        if edit.availabilities:
            del new.availabilities[:]
            new.availabilities.extend(edit.availabilities)
        return new

    return edited


def _words(has: Iterable[str], added: Iterable[str], removed: Iterable[str]) -> list[str]:
    gone = set(removed)
    return [word for word in dict.fromkeys([*has, *added]) if word not in gone]
