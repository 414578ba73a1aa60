"""`reelmesh bench freshness`: how soon a title is found by a new name, while a replica is killed again and again.

Editors change titles in the catalog, one after the other, and ask the gateway for the new name until it is found. One
answer is not enough, since another replica may not know it yet: it counts as found from when answers begin that all
have it, as many in a row as there are chances for either replica to be asked.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.catalog.v1.title_service_pb2 import CreateTitleRequest, UpdateTitleRequest
from reelmesh.discovery.v1.discovery_service_pb2 import SearchRequest
from reelmesh_tools.bench import discovery, own, search_library
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.playback import percentile
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.stack.client import Stack

PROCESSES = ("cassandra", "kafka", "envoy", "control", "discovery", "discovery-2")
IN_A_ROW = 8
"""Answers that all have to have the new name."""
ASK_SECONDS = 0.01
"""Between two questions."""
FOUND_SECONDS = 30.0
EDITORS = 3
REST_SECONDS = 5.0
"""Between a replica's being healthy again and the next kill."""
_LETTERS = "bcdfghjklmnpqrstvwxz"


@dataclass
class _Seen:
    """What editors saw."""

    first: list[float] = field(default_factory=list)
    """Seconds from the answer to an edit until one answer had the new name."""
    all: list[float] = field(default_factory=list)
    """…until all answers had it."""
    asked: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Searches that failed, by reason."""


def measure(titles: int, seed: int, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Edit for so long beside a library of so many titles, while either replica is killed in turn.

    Returns what is printed: edits, searches, failed_searches by reason, kills, and first_ and all_ p50_ms, p99_ms and
    max_ms. Raises StackError, BenchError, grpc.RpcError.
    """
    progress("starting a platform")
    with own.stack(PROCESSES) as (stack, platform):
        if titles:
            progress(f"telling of {titles:,} titles")
            asyncio.run(discovery.publish(stack, search_library.library(titles, seed, datetime.now(UTC))))
            discovery.until_told(stack, titles)
        seen, stop = _Seen(), threading.Event()
        progress("editing while replicas are killed")
        with ThreadPoolExecutor(EDITORS + 1) as threads:
            chances = [random.Random(f"{seed}/{each}") for each in range(EDITORS)]  # noqa: S311 - no secret
            editing = [threads.submit(_edit, platform, chance, seen, stop) for chance in chances]
            try:
                kills = _kill(stack, seconds, progress, lambda: any(each.done() for each in editing))
            finally:
                stop.set()
            for each in editing:
                each.result()
    return {
        "titles": titles,
        "edits": len(seen.all),
        "searches": seen.asked,
        "failed_searches": seen.failed,
        "kills": kills,
        **_times("first", seen.first),
        **_times("all", seen.all),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _times(name: str, took: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": round(percentile(took, 0.50) * 1000),
        f"{name}_p99_ms": round(percentile(took, 0.99) * 1000),
        f"{name}_max_ms": round(max(took) * 1000),
    }


def _kill(
    stack: Stack, seconds: float, progress: Callable[[str], None], over: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Kill either replica in turn for so long; return when, and when each was healthy again."""
    began = time.monotonic()
    kills: list[dict[str, Any]] = []
    for name in itertools.cycle(("discovery-2", "discovery")):
        threading.Event().wait(REST_SECONDS)  # between kills both answer
        if time.monotonic() - began >= seconds or over():
            return kills
        before = stack.kill_process(name)
        killed = time.monotonic()
        progress(f"killed {name}")
        stack.wait_healthy(name, after=before)
        again = time.monotonic() - killed
        after = round(killed - began, 1)
        kills.append({"process": name, "after_seconds": after, "healthy_after_seconds": round(again, 1)})
    raise AssertionError  # a cycle has no end


def _edit(platform: Platform, chance: random.Random, seen: _Seen, stop: threading.Event) -> None:
    """Give a title new names until told to stop. Raises BenchError for one that is not found."""
    title = Title(kind=Title.KIND_FILM, original_language="en", state=Title.STATE_PUBLISHED)
    title.localizations.add(language="en", title=_name(chance))
    wanted = CreateTitleRequest(parent=platform.parent, title=title, request_id=str(uuid.uuid4()))
    title = platform.titles.CreateTitle(wanted, timeout=CALL_SECONDS).title
    while not stop.is_set():
        word = _name(chance)
        title.localizations[0].title = word
        changed = UpdateTitleRequest(title=title, update_mask=FieldMask(paths=["localizations"]))
        title = platform.titles.UpdateTitle(changed, timeout=CALL_SECONDS).title
        edited = time.monotonic()
        first, whole = _look(platform, word, title.name, edited, seen)
        seen.first.append(first - edited)
        seen.all.append(whole - edited)


def _look(platform: Platform, word: str, name: str, began: float, seen: _Seen) -> tuple[float, float]:
    """Ask until a title is found by a name, and so by enough answers in a row; return when each began."""
    request = SearchRequest(parent=platform.parent, query=word, mode=SearchRequest.MODE_LEXICAL)
    first = 0.0
    row: list[float] = []
    while len(row) < IN_A_ROW:
        asked = time.monotonic()
        if asked - began > FOUND_SECONDS:
            raise BenchError(f"{name} is not found by {word} after {FOUND_SECONDS:g} s")
        seen.asked += 1
        found = False
        try:
            hits = platform.discovery.Search(request, timeout=CALL_SECONDS).hits
            found = any(hit.title.title == name for hit in hits)
        except grpc.RpcError as error:
            reason = problem_of(error).reason or problem_of(error).code.name
            seen.failed[reason] = seen.failed.get(reason, 0) + 1
        if found:
            first = first or time.monotonic()
            row.append(time.monotonic())
        else:
            row.clear()
        threading.Event().wait(ASK_SECONDS)  # asked again
    return first, row[0]


def _name(chance: random.Random) -> str:
    """Return a word that no other title has."""
    return "".join(chance.choices(_LETTERS, k=14))
