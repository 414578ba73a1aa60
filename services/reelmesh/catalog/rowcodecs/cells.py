"""A cell: ";" between the items of a list, "|" between their parts, and a backslash before what is meant so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

ITEMS, PARTS, ESCAPE = ";", "|", "\\"
_SPECIAL = str.maketrans({char: ESCAPE + char for char in (ITEMS, PARTS, ESCAPE)})


def escaped(text: str) -> str:
    """Write a part of an item."""
    found = text.translate(_SPECIAL)
    if found[:1].isspace():
        found = ESCAPE + found
    if len(text) > 1 and found[-1].isspace():
        found = found[:-1] + ESCAPE + found[-1]
    return found


def joined(items: Iterable[Sequence[str]]) -> str:
    """Write a list of items, each of parts."""
    return ITEMS.join(PARTS.join(map(escaped, parts)) for parts in items)


def split(cell: str) -> list[list[str]]:
    """Read a list of items, each of parts; what is blank is no item. Space around parts means nothing.

    Raises ValueError for a backslash with nothing behind it.
    """
    if ESCAPE not in cell:
        items = ([part.strip() for part in item.split(PARTS)] for item in cell.split(ITEMS))
        return [parts for parts in items if parts != [""]]
    return list(_split(cell))


def _split(cell: str) -> Iterator[list[str]]:
    parts: list[str] = []
    part, kept = "", 0
    chars = iter(cell)
    for char in chars:
        if char == ESCAPE:
            meant = next(chars, None)
            if meant is None:
                raise ValueError("a \\ has nothing behind it")
            part += meant
            kept = len(part)
        elif char in (ITEMS, PARTS):
            parts.append(_end(part, kept))
            part, kept = "", 0
            if char == ITEMS:
                if parts != [""]:
                    yield parts
                parts = []
        elif part or not char.isspace():
            part += char
    parts.append(_end(part, kept))
    if parts != [""]:
        yield parts


def _end(part: str, kept: int) -> str:
    """Cut space from a part's end, but not what was meant so."""
    return part[:kept] + part[kept:].rstrip()
