"""Libraries in and out through the gateway: the command line, and what a program meets."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import environment_of

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1.title_service_pb2 import GetTitleRequest
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.library.generator import landmarks
from reelmesh_tools.stack.client import Stack

pytestmark = pytest.mark.stack

Run = Callable[..., dict[str, Any]]
COUNT = 400
SEED = 77


@pytest.fixture(scope="module")
def seeded(reelmesh: Run) -> dict[str, Any]:
    return reelmesh("catalog", "seed", "--titles", str(COUNT), "--seed", str(SEED))


def test_a_seeded_library_is_there_and_stays_as_it_is(
    seeded: dict[str, Any], reelmesh: Run, platform: Platform
) -> None:
    assert (seeded["titles"], seeded["created"], seeded["refused"]) == (COUNT, COUNT, 0)
    assert seeded["rate"] > 0
    again = reelmesh("catalog", "seed", "--titles", str(COUNT), "--seed", str(SEED))
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, COUNT)
    known = landmarks(SEED)[3]
    name = str(imported_name("default", known.external_id))
    found = platform.titles.GetTitle(GetTitleRequest(name=name), timeout=20).title
    assert found.localizations == known.localizations
    assert found.credits == known.credits


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_goes_out_comes_in_unchanged(seeded: dict[str, Any], reelmesh: Run, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"library.{ending}"
    assert seeded
    assert reelmesh("catalog", "export", str(file))["bytes"] == file.stat().st_size
    for more in (["--dry-run"], []):
        report = reelmesh("catalog", "import", str(file), *more)
        assert report["rows"] >= COUNT
        assert (report["created"], report["updated"], report["refused"]) == (0, 0, 0)
        assert [outcome["row"] for outcome in report["outcomes"]] == list(range(1, report["rows"] + 1))


def test_a_file_with_broken_rows_is_reported_row_by_row(
    reelmesh: Run, stack: Stack, tmp_path: Path, platform: Platform
) -> None:
    file = tmp_path / "broken.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as sink:
        rows = csv.writer(sink)
        rows.writerow(["external_id", "kind", "title[de]", "parent_external_id", "number"])
        rows.writerow(["lib-1", "series", "Hafen\nim Nebel", "", ""])
        rows.writerow(["lib-2", "opera", "Falsch", "", ""])
        rows.writerow(["lib-3", "episode", "Nebel", "lib-1", "1"])
        sink.write('lib-4,film,"Nie geschlossen\r\n')
        rows.writerow(["lib-5", "film", "", "", ""])
        rows.writerow(["lib-3", "episode", "Noch einmal", "lib-1", "2"])
    wanted = ["created", "VALUE_INVALID", "created", "ROW_UNREADABLE", "TITLE_INVALID", "EXTERNAL_ID_REPEATED"]
    for more in (["--dry-run"], []):
        report = reelmesh("catalog", "import", str(file), *more, code=1)
        assert [each.get("reason") or each["effect"] for each in report["outcomes"]] == wanted
        assert report["outcomes"][1]["field"] == "kind"
    episode = platform.titles.GetTitle(GetTitleRequest(name=report["outcomes"][2]["name"]), timeout=20).title
    assert episode.parent_title == report["outcomes"][0]["name"]
    command = [sys.executable, "-m", "reelmesh_tools.cli", "catalog", "import", str(file)]
    told = subprocess.run(command, env=environment_of(stack), capture_output=True, text=True, timeout=100, check=False)
    assert told.returncode == 1
    assert "2 unchanged, 4 refused" in told.stdout
    assert "ROW_UNREADABLE" in told.stderr
