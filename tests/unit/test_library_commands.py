"""What the command line does with a library's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1 import library_service_pb2 as pb
from reelmesh_tools.client import catalog, library
from reelmesh_tools.client.platform import Platform

ROWS = [b"a\n", b"b\n", b"c\n", b"d\n"]


class Away(grpc.RpcError):
    """The platform does not answer, or says no for good."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "away"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Library:
    """Answers each row once it has come; ends a call as told, after so many answers."""

    def __init__(self, *ends: tuple[int, grpc.StatusCode]) -> None:
        self._ends = list(ends)
        self._known: set[bytes] = set()
        self.calls = 0

    def ImportTitles(self, requests: Iterable[pb.ImportTitlesRequest]) -> Iterator[pb.ImportTitlesResponse]:  # noqa: N802
        self.calls += 1
        most, code = self._ends.pop(0) if self._ends else (1000, grpc.StatusCode.OK)
        first, *others = requests
        assert first.settings.parent == "organizations/default"
        for number, row in enumerate(b"".join(each.data for each in others).splitlines(), start=1):
            if number > most:
                raise Away(code)
            effect = "UNCHANGED" if row in self._known else "CREATED"
            self._known.add(row)
            yield pb.ImportTitlesResponse(row=number, effect=pb.ImportTitlesResponse.Effect.Value(f"EFFECT_{effect}"))


def send(served: Library) -> tuple[list[int], library.Tally]:
    platform = cast("Platform", SimpleNamespace(library=served))
    wanted = pb.ImportTitlesRequest.Settings(parent="organizations/default", format=pb.ROW_FORMAT_JSON)
    tally = library.Tally()
    return [answer.row for answer in library.send(platform, wanted, lambda: ROWS, tally)], tally


def test_an_import_goes_on_where_it_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "PAUSE_SECONDS", 0.0)
    served = Library((1, grpc.StatusCode.UNAVAILABLE), (0, grpc.StatusCode.UNAVAILABLE))
    rows, tally = send(served)
    assert rows == [1, 2, 3, 4]
    assert tally.effects == {"created": 4}
    assert (tally.retries, served.calls) == (2, 3)
    assert tally.as_dict(2.0)["rate"] == 2.0


def test_what_is_refused_for_good_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "PAUSE_SECONDS", 0.0)
    served = Library((2, grpc.StatusCode.PERMISSION_DENIED))
    with pytest.raises(grpc.RpcError):
        send(served)
    assert served.calls == 1
    served = Library(*[(0, grpc.StatusCode.UNAVAILABLE)] * 50)
    with pytest.raises(grpc.RpcError):
        send(served)
    assert served.calls == library.ATTEMPTS


def test_rows_travel_together() -> None:
    rows = [b"x" * 1000] * 1000
    pieces = list(library.gathered(rows))
    assert b"".join(pieces) == b"".join(rows)
    assert len(pieces) == 4


def test_titles_are_known_by_name_id_and_external_id() -> None:
    platform: Any = SimpleNamespace(parent="organizations/acme")
    name = str(imported_name("acme", "film 7"))
    assert catalog.title_name(platform, name) == name
    assert catalog.title_name(platform, name.rpartition("/")[2]) == name
    assert catalog.title_name(platform, "film 7") == name
