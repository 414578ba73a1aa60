from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from reelmesh.discovery.v1 import discovery_service_pb2 as pb
from reelmesh_tools.bench import discovery, freshness
from reelmesh_tools.bench.errors import BenchError

NAME = "organizations/default/titles/1"


class Platform:
    """Answers searches with a title, or without it, as told."""

    parent = "organizations/default"

    def __init__(self, *found: bool) -> None:
        self._found = list(found)
        self.discovery = SimpleNamespace(Search=self._search)

    def _search(self, request: pb.SearchRequest, timeout: float) -> pb.SearchResponse:
        answer = pb.SearchResponse()
        if self._found.pop(0) if len(self._found) > 1 else self._found[0]:
            answer.hits.add().title.title = NAME
        return answer


def look(platform: Any, seen: freshness._Seen) -> tuple[float, float]:
    return freshness._look(platform, "word", NAME, time.monotonic(), seen)


def test_a_title_counts_as_found_when_every_answer_has_it() -> None:
    seen = freshness._Seen()
    first, every = look(Platform(False, True, False, False, True), seen)
    assert every - first >= 2 * freshness.ASK_SECONDS
    assert seen.asked == 4 + freshness.IN_A_ROW


def test_a_title_that_is_never_found_ends_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "FOUND_SECONDS", 0.05)
    with pytest.raises(BenchError, match="not found"):
        look(Platform(False), freshness._Seen())


def test_every_way_of_asking_has_requests_that_differ() -> None:
    queries = discovery._queries(1000, 1, datetime(2026, 11, 27, tzinfo=UTC))
    assert len(queries) >= 60
    platform: Any = Platform(True)
    ways = discovery._ways(platform, queries)
    assert set(ways) == {"search", "suggest", "browse"}
    for requests in ways.values():
        assert len(set(requests)) == len(requests) > 2
    assert pb.SearchRequest.FromString(ways["search"][0][1]).query == queries[0]
