from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from title_fakes import ORGANIZATION, film

from reelmesh.catalog.errors import ParentUnfit, TitleInvalid, TitleTooLarge
from reelmesh.catalog.title_rules import LARGEST, check, check_parent
from reelmesh.catalog.v1.title_pb2 import Availability, Localization, Title

ID = "018f0000-0000-7000-8000-000000000001"
OWN = f"organizations/{ORGANIZATION}/titles/{ID}"
OTHER = f"organizations/other/titles/{ID}"
EN = [Localization(language="en", title="One")]


def at(year: int) -> Timestamp:
    time = Timestamp()
    time.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
    return time


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"kind": Title.KIND_SEASON}, "parent_title"),
        ({"kind": Title.KIND_EXTRA}, "parent_title"),
        ({"kind": Title.KIND_FILM, "parent_title": OWN}, "parent_title"),
        ({"kind": Title.KIND_EPISODE, "parent_title": OTHER}, "parent_title"),
        ({"kind": Title.KIND_FILM, "number": 2}, "number"),
        ({"kind": Title.KIND_SERIES, "video": f"organizations/{ORGANIZATION}/videos/{ID}"}, "video"),
        ({"kind": Title.KIND_FILM, "video": f"organizations/other/videos/{ID}"}, "video"),
        ({"kind": Title.KIND_FILM, "members": [OWN]}, "members"),
        ({"kind": Title.KIND_COLLECTION, "members": [OWN, OTHER]}, "members[1]"),
        ({"localizations": [*EN, Localization(language="EN", title="Two")]}, "localizations[1].language"),
        ({"release_date": Date(year=2023, month=2, day=29)}, "release_date"),
        ({"release_date": Date(month=2)}, "release_date"),
        ({"release_date": Date(year=2023, day=2)}, "release_date"),
        ({"release_date": Date(year=2023, month=13)}, "release_date"),
        ({"availabilities": [Availability(start_time=at(2026), end_time=at(2026))]}, "availabilities[0].end_time"),
    ],
)
def test_what_no_single_field_says(fields: dict[str, Any], path: str) -> None:
    title = Title(**{"kind": Title.KIND_FILM, "localizations": EN, **fields})
    with pytest.raises(TitleInvalid) as caught:
        check(ORGANIZATION, title)
    assert [violation[0] for violation in caught.value.violations] == [f"title.{path}"]


@pytest.mark.parametrize(
    "title",
    [
        film(),
        film(release_date=Date(year=1999)),
        film(release_date=Date(year=2024, month=2, day=29)),
        film(availabilities=[Availability(start_time=at(2025), end_time=at(2026)), Availability(start_time=at(2027))]),
        Title(kind=Title.KIND_SEASON, parent_title=OWN, number=1, localizations=EN),
        Title(kind=Title.KIND_COLLECTION, members=[OWN], localizations=EN),
    ],
)
def test_what_is_right_passes(title: Title) -> None:
    check(ORGANIZATION, title)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(TitleInvalid) as caught:
        check(ORGANIZATION, film(number=1, members=[OTHER], release_date=Date(month=1)))
    assert len(caught.value.violations) == 4


def test_a_title_fits_a_record() -> None:
    long = "x" * 10_000
    texts = [Localization(language=f"de-x-{number}", title="t", description=long) for number in range(60)]
    with pytest.raises(TitleTooLarge):
        check(ORGANIZATION, Title(kind=Title.KIND_FILM, localizations=texts))
    assert LARGEST < 1_000_000


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (Title.KIND_SEASON, Title.KIND_SERIES),
        (Title.KIND_EPISODE, Title.KIND_SERIES),
        (Title.KIND_EPISODE, Title.KIND_SEASON),
        (Title.KIND_EXTRA, Title.KIND_FILM),
    ],
)
def test_parts_fit(kind: Title.Kind.ValueType, parent: Title.Kind.ValueType) -> None:
    check_parent(Title(kind=kind), Title(kind=parent))


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (Title.KIND_SEASON, Title.KIND_FILM),
        (Title.KIND_EPISODE, Title.KIND_EPISODE),
        (Title.KIND_EXTRA, Title.KIND_COLLECTION),
    ],
)
def test_parts_that_do_not_fit(kind: Title.Kind.ValueType, parent: Title.Kind.ValueType) -> None:
    with pytest.raises(ParentUnfit):
        check_parent(Title(kind=kind), Title(kind=parent))
