"""Columns of CSV that hold one field of a title each: words for its enums, lists, and what has parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from reelmesh.catalog.rowcodecs.cells import joined, split
from reelmesh.catalog.rowcodecs.model import Row, ValueInvalid
from reelmesh.catalog.v1.title_pb2 import AgeRating, Availability, Credit, Image, Title

PLAIN = ("external_id", "name", "parent_title", "video", "original_language")
LISTS = ("genres", "tags", "members")
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,9}", re.ASCII)


def _plain(title: Title, column: str, text: str) -> None:
    setattr(title, column, text)


def _number(title: Title, column: str, text: str) -> None:
    title.number = _whole(text, column)


def _words(title: Title, column: str, text: str) -> None:
    getattr(title, column).extend(only(parts, column) for parts in items(column, text))


def _named(enum: Any, prefix: str) -> Callable[[Title, str, str], None]:
    def read(title: Title, column: str, text: str) -> None:
        setattr(title, column, _value(enum, prefix, text, column))

    return read


def _release_date(title: Title, column: str, text: str) -> None:
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise ValueInvalid(column, "must be a day, a month or a year: 2026-11-27, 2026-11 or 2026")
    year, month, day = (int(part or 0) for part in found.groups())
    title.release_date.CopyFrom(Date(year=year, month=month, day=day))


def _running_time(title: Title, column: str, text: str) -> None:
    try:
        title.running_time.FromJsonString(text.strip())
    except ValueError as error:
        raise ValueInvalid(column, "must be seconds, such as 5400s") from error


def _credits(title: Title, column: str, text: str) -> None:
    for parts in items(column, text):
        role, person, character = _parts(parts, 2, 3, column, "role|person|character")
        title.credits.append(
            Credit(role=_value(Credit.Role, "ROLE_", role, column), person=person, character=character)
        )


def _age_ratings(title: Title, column: str, text: str) -> None:
    for parts in items(column, text):
        system, rating, age, territories = _parts(parts, 3, 4, column, "system|rating|minimum age|countries")
        title.age_ratings.append(
            AgeRating(system=system, rating=rating, minimum_age=_whole(age, column), territories=territories.split())
        )


def _availabilities(title: Title, column: str, text: str) -> None:
    for parts in items(column, text):
        territories, start, end = _parts(parts, 1, 3, column, "countries|from|until")
        window = Availability(territories=territories.split())
        if start:
            window.start_time.CopyFrom(_time(start, column))
        if end:
            window.end_time.CopyFrom(_time(end, column))
        title.availabilities.append(window)


def _images(title: Title, column: str, text: str) -> None:
    for parts in items(column, text):
        purpose, size, uri, language = _parts(parts, 3, 4, column, "purpose|width x height|address|language")
        found = _SIZE.fullmatch(size)
        if found is None:
            raise ValueInvalid(column, f"{size[:40]!r} is no size such as 342x513")
        title.images.append(
            Image(
                purpose=_value(Image.Purpose, "PURPOSE_", purpose, column),
                width=int(found[1]),
                height=int(found[2]),
                uri=uri,
                language=language,
            )
        )


READERS: Mapping[str, Callable[[Title, str, str], None]] = {
    **dict.fromkeys(PLAIN, _plain),
    **dict.fromkeys(LISTS, _words),
    "kind": _named(Title.Kind, "KIND_"),
    "state": _named(Title.State, "STATE_"),
    "audience": _named(Title.Audience, "AUDIENCE_"),
    "number": _number,
    "release_date": _release_date,
    "running_time": _running_time,
    "credits": _credits,
    "age_ratings": _age_ratings,
    "availabilities": _availabilities,
    "images": _images,
}
"""What puts the text of a column into a title, by column. Raises ValueInvalid."""


def written(row: Row) -> dict[str, str]:
    """Return what stands in the columns of a title that are the same for all languages."""
    title = row.title
    given = {column: str(getattr(title, column)) for column in PLAIN}
    given.update({column: joined([each] for each in getattr(title, column)) for column in LISTS})
    if title.external_id:
        given["name"] = ""
    if row.parent_external_id:
        given |= {"parent_external_id": row.parent_external_id, "parent_title": ""}
    if row.member_external_ids:
        given |= {"member_external_ids": joined([each] for each in row.member_external_ids), "members": ""}
    return given | {
        "kind": _word(Title.Kind, "KIND_", title.kind),
        "number": str(title.number or ""),
        "state": _word(Title.State, "STATE_", title.state),
        "audience": _word(Title.Audience, "AUDIENCE_", title.audience),
        "release_date": _day(title.release_date),
        "running_time": title.running_time.ToJsonString() if title.HasField("running_time") else "",
        "credits": joined(_tight(_word(Credit.Role, "ROLE_", each.role), each.person, each.character)
                          for each in title.credits),
        "age_ratings": joined(_tight(each.system, each.rating, str(each.minimum_age), " ".join(each.territories))
                              for each in title.age_ratings),
        "availabilities": joined(map(_window, title.availabilities)),
        "images": joined(_tight(_word(Image.Purpose, "PURPOSE_", each.purpose), f"{each.width}x{each.height}",
                                each.uri, each.language) for each in title.images),
        "languages": joined([each.language] for each in title.localizations),
    }  # fmt: skip


def _tight(*parts: str) -> Sequence[str]:
    return parts if parts[-1] else parts[:-1]


def _window(window: Availability) -> Sequence[str]:
    times = [window.start_time if window.HasField("start_time") else None]
    times.append(window.end_time if window.HasField("end_time") else None)
    return [" ".join(window.territories), *(time.ToJsonString() if time is not None else "" for time in times)]


def _day(date: Date) -> str:
    parts = [f"{date.year:04}"] if date.year else []
    parts += [f"{part:02}" for part in (date.month, date.day) if part]
    return "-".join(parts)


def _word(enum: Any, prefix: str, value: int) -> str:
    return enum.Name(value).removeprefix(prefix).lower() if value else ""


def _value(enum: Any, prefix: str, text: str, column: str) -> Any:
    name = text.strip().upper().replace(" ", "_").removeprefix(prefix)
    values = {each.removeprefix(prefix): value for each, value in enum.items()}
    if name not in values:
        words = ", ".join(each.lower() for each, value in values.items() if value)
        raise ValueInvalid(column, f"{text[:40]!r} is none of {words}")
    return values[name]


def _whole(text: str, column: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueInvalid(column, f"{text[:40]!r} is no whole number")
    return int(text)


def _time(text: str, column: str) -> Timestamp:
    time = Timestamp()
    try:
        time.FromJsonString(text)
    except ValueError as error:
        raise ValueInvalid(column, f"{text[:40]!r} is no time such as 2026-11-27T12:00:00Z") from error
    return time


def items(column: str, text: str) -> list[list[str]]:
    """Read a list of items, each of parts. Raises ValueInvalid."""
    try:
        return split(text)
    except ValueError as error:
        raise ValueInvalid(column, str(error)) from error


def only(parts: Sequence[str], column: str) -> str:
    """Return the only part of an item. Raises ValueInvalid."""
    if len(parts) != 1:
        raise ValueInvalid(column, "has a | in it; write \\| for one that is meant so")
    return parts[0]


def _parts(parts: Sequence[str], least: int, most: int, column: str, shape: str) -> list[str]:
    if not least <= len(parts) <= most:
        raise ValueInvalid(column, f"each is {shape}")
    return [*parts, *[""] * (most - len(parts))]
