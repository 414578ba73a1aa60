"""Titles for tests of discovery, and a clock that stands."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from reelmesh.catalog.v1.title_pb2 import AgeRating, Availability, Credit, Title
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import BrowseQuery, Filters, Order, Popularity, SearchQuery, Viewer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
VIEWER = Viewer("acme", language="en")


class StandingClock:
    """Stands until it is put on."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    def put_on(self, **span: float) -> None:
        self.time += timedelta(**span)


def name_of(number: int, organization: str = "acme") -> str:
    return f"organizations/{organization}/titles/{uuid.UUID(int=number)}"


def video_of(number: int, organization: str = "acme") -> str:
    return f"organizations/{organization}/videos/{uuid.UUID(int=number)}"


def title(
    at: int,
    told: str | Mapping[str, str | tuple[str, str]],
    people: Sequence[str] = (),
    *,
    organization: str = "acme",
    kind: Title.Kind.ValueType = Title.KIND_FILM,
    genres: Sequence[str] = (),
    tags: Sequence[str] = (),
    year: int = 0,
    **more: object,
) -> Title:
    """A published film with texts by language: a name, or a name and a synopsis."""
    texts = {"en": told} if isinstance(told, str) else told
    made = Title(
        name=name_of(at, organization),
        kind=kind,
        video=video_of(at, organization),
        original_language=next(iter(texts)),
        genres=genres,
        tags=tags,
        revision=1,
        state=Title.STATE_PUBLISHED,
        credits=[Credit(person=each, role=Credit.ROLE_ACTOR) for each in people],
    )
    for language, text in texts.items():
        called, synopsis = text if isinstance(text, tuple) else (text, "")
        made.localizations.add(language=language, title=called, synopsis=synopsis)
    made.release_date.year = year
    made.create_time.FromDatetime(NOON - timedelta(days=1000 - at))
    made.MergeFrom(Title(**more))  # type: ignore[arg-type]
    return made


def window(*territories: str, start: datetime | None = None, end: datetime | None = None) -> Availability:
    made = Availability(territories=territories)
    if start:
        made.start_time.FromDatetime(start)
    if end:
        made.end_time.FromDatetime(end)
    return made


def rating(age: int, *territories: str) -> AgeRating:
    return AgeRating(system="X", rating=str(age), minimum_age=age, territories=territories)


def put(index: Index, *titles: Title) -> None:
    index.apply((each.name, each) for each in titles)
    index.commit()


def found(index: Index, text: str, viewer: Viewer = VIEWER, **more: object) -> list[str]:
    """Names that a search shows, the best first."""
    result = index.search(SearchQuery(viewer, text, **more))  # type: ignore[arg-type]
    return [hit.title.display_title for hit in result.hits]


def listed(index: Index, order: Order, viewer: Viewer = VIEWER, filters: Filters | None = None) -> list[str]:
    result = index.browse(BrowseQuery(viewer, order, filters or {}))
    return [each.display_title for each in result.titles]


def watched(index: Index, views: Mapping[int, float], country: str = "") -> None:
    """Let titles be watched, by number."""
    counts = {video_of(number): count for number, count in views.items()}
    index.set_popularity(Popularity({"": counts} if not country else {"": {}, country: counts}))
    index.commit()


def numbers(titles: Iterable[Title]) -> list[int]:
    return [uuid.UUID(each.name.rsplit("/", 1)[1]).int for each in titles]
