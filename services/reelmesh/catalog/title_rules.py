"""What must hold of a title beyond the rules that its fields have in the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from google.type.date_pb2 import Date

from reelmesh.catalog.errors import ParentUnfit, TitleInvalid, TitleTooLarge
from reelmesh.catalog.v1.title_pb2 import Title

LARGEST = 512 << 10
"""Bytes that a title may have: it must fit a record of Kafka with room to spare."""

PARENTS: Mapping[int, frozenset[int]] = {
    Title.KIND_SEASON: frozenset({Title.KIND_SERIES}),
    Title.KIND_EPISODE: frozenset({Title.KIND_SERIES, Title.KIND_SEASON}),
    Title.KIND_EXTRA: frozenset({Title.KIND_FILM, Title.KIND_SERIES, Title.KIND_SEASON, Title.KIND_EPISODE}),
}
"""Kinds of titles that are part of another, and of which."""
NUMBERED = frozenset({Title.KIND_SEASON, Title.KIND_EPISODE, Title.KIND_EXTRA})
PLAYED = frozenset({Title.KIND_FILM, Title.KIND_EPISODE, Title.KIND_EXTRA})

Violation = tuple[str, str]


def check(organization: str, title: Title) -> None:
    """Raises TitleInvalid with every fault, TitleTooLarge."""
    violations = [*_kind(title), *_organization(organization, title), *_localizations(title), *_times(title)]
    if violations:
        field, problem = violations[0]
        raise TitleInvalid(f"title.{field}: {problem}", violations=[(f"title.{path}", why) for path, why in violations])
    if title.ByteSize() > LARGEST:
        raise TitleTooLarge(f"a title may have {LARGEST} bytes, this one has {title.ByteSize()}", bytes=LARGEST)


def check_parent(title: Title, parent: Title) -> None:
    """Raises ParentUnfit where `title` is no part of such a one as `parent`."""
    if parent.kind not in PARENTS[title.kind]:
        kinds = " or ".join(sorted(_word(kind) for kind in PARENTS[title.kind]))
        raise ParentUnfit(f"{_word(title.kind)} is part of {kinds}, not of {_word(parent.kind)}")


def _word(kind: int) -> str:
    return Title.Kind.Name(Title.Kind.ValueType(kind)).removeprefix("KIND_").lower()


def _kind(title: Title) -> Iterator[Violation]:
    if not title.kind:
        yield "kind", "must be given"
        return
    word = _word(title.kind)
    if title.kind in PARENTS and not title.parent_title:
        yield "parent_title", f"{word} is part of another title, so it must name it"
    if title.kind not in PARENTS and title.parent_title:
        yield "parent_title", f"{word} is part of no other title"
    if title.number and title.kind not in NUMBERED:
        yield "number", f"{word} has no number"
    if title.video and title.kind not in PLAYED:
        yield "video", f"{word} does not play itself"
    if title.members and title.kind != Title.KIND_COLLECTION:
        yield "members", f"{word} has no members"


def _organization(organization: str, title: Title) -> Iterator[Violation]:
    own = f"organizations/{organization}/"
    for path in ("parent_title", "video"):
        name = str(getattr(title, path))
        if name and not name.startswith(own):
            yield path, "belongs to another organization"
    for index, member in enumerate(title.members):
        if not member.startswith(own):
            yield f"members[{index}]", "belongs to another organization"


def _localizations(title: Title) -> Iterator[Violation]:
    if not title.localizations:
        yield "localizations", "must have one at least"
    seen: set[str] = set()
    for index, localization in enumerate(title.localizations):
        language = localization.language.lower()
        if language in seen:
            yield f"localizations[{index}].language", f"{localization.language} is there already"
        seen.add(language)


def _times(title: Title) -> Iterator[Violation]:
    if not _is_date(title.release_date):
        yield "release_date", "is no date"
    for index, window in enumerate(title.availabilities):
        both = window.HasField("start_time") and window.HasField("end_time")
        if both and window.start_time.ToNanoseconds() >= window.end_time.ToNanoseconds():
            yield f"availabilities[{index}].end_time", "must be after start_time"


def _is_date(given: Date) -> bool:
    """Tell whether it is a date, a month of a year (no day), a year, or nothing."""
    if (given.day and not given.month) or (given.month and not given.year):
        return False
    if not given.year:
        return True
    try:
        date(given.year, given.month or 1, given.day or 1)
    except ValueError:
        return False
    return True
