"""What the door to the object store says when a folder does not answer; the rest is tested on whole films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.objects import Objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects.at(tmp_path.as_uri())


async def test_what_was_put_is_listed_and_removed(objects: Objects) -> None:
    for key in ("a/1", "a/2", "ab/3"):
        await objects.put(key, b"x")
    assert sorted([key async for key in objects.list("a")]) == ["a/1", "a/2"]
    assert [key async for key in objects.list("nothing")] == []
    await objects.delete(["a/1", "not there", "a/2"])
    assert [key async for key in objects.list("a")] == []
    assert await objects.get("ab/3") == b"x"


async def test_a_store_that_does_not_answer_may_later(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise GenericError("away")

    for name in ("list", "delete_async"):
        monkeypatch.setattr(obstore, name, broken)
    with pytest.raises(Unavailable):
        [key async for key in objects.list("a")]
    with pytest.raises(Unavailable):
        await objects.delete(["a/1"])
