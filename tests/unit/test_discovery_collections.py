"""What collections a title is in, as its page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.discovery.index import Index
from reelmesh.discovery.model import Viewer
from reelmesh.mesh.clock import SystemClock

NAME = "organizations/default/titles/0192f0c1-0000-7000-8000-00000000000{}"
VIEWER = Viewer("default")


def title(number: int, told: str, kind: Title.Kind.ValueType, **more: object) -> Title:
    made = Title(
        name=NAME.format(number),
        kind=kind,
        revision=1,
        state=Title.STATE_PUBLISHED,
        localizations=[Localization(language="en", title=told)],
    )
    made.MergeFrom(Title(**more))  # type: ignore[arg-type]
    return made


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index", SystemClock())
    yield opened
    opened.close()


def put(index: Index, *titles: Title) -> None:
    index.apply((each.name, each) for each in titles)
    index.commit()


def collections(index: Index, number: int) -> list[str]:
    return [each.display_title for each in index.details(NAME.format(number), VIEWER).collections]


def test_a_title_names_the_collections_that_it_is_in(index: Index) -> None:
    film, other = title(1, "Harbour", Title.KIND_FILM), title(2, "Salt", Title.KIND_FILM)
    first = title(3, "By the sea", Title.KIND_COLLECTION, members=[film.name, other.name])
    second = title(4, "Lighthouses", Title.KIND_COLLECTION, members=[film.name])
    put(index, film, other, first, second)
    assert sorted(collections(index, 1)) == ["By the sea", "Lighthouses"]
    assert collections(index, 2) == ["By the sea"]
    assert collections(index, 3) == []


def test_a_collection_that_is_changed_or_not_to_be_found_is_not_named(index: Index) -> None:
    film = title(1, "Harbour", Title.KIND_FILM)
    kept = title(3, "By the sea", Title.KIND_COLLECTION, members=[film.name])
    draft = title(4, "Lighthouses", Title.KIND_COLLECTION, members=[film.name])
    draft.state = Title.STATE_DRAFT
    put(index, film, kept, draft)
    assert collections(index, 1) == ["By the sea"]
    del kept.members[:]
    kept.revision = 2
    put(index, kept)
    assert collections(index, 1) == []
