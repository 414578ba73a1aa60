"""Libraries in and out through the gateway: the command line, and what a program meets."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import environment_of

from reelmesh.catalog.title_model import imported_name
from reelmesh.catalog.v1 import library_service_pb2 as pb
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.catalog.v1.title_service_pb2 import GetTitleRequest
from reelmesh_tools.client.platform import Platform, problem_of
from reelmesh_tools.library.generator import landmarks
from reelmesh_tools.stack.client import Stack

pytestmark = pytest.mark.stack

Run = Callable[..., dict[str, Any]]
COUNT = 400
SEED = 77


@pytest.fixture(scope="module")
def seeded(reelmesh: Run) -> dict[str, Any]:
    return reelmesh("catalog", "seed", "--titles", str(COUNT), "--seed", str(SEED))


def settings(platform: Platform, **more: Any) -> pb.ImportTitlesRequest:
    wanted = pb.ImportTitlesRequest.Settings(parent=platform.parent, format=pb.ROW_FORMAT_JSON, **more)
    return pb.ImportTitlesRequest(settings=wanted)


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


def test_titles_are_edited_and_restored(seeded: dict[str, Any], reelmesh: Run) -> None:
    assert seeded
    ids = [film.external_id for film in landmarks(SEED)[:2]]
    dry = reelmesh("catalog", "edit", *ids, "--add-tag", "restored print", "--state", "withdrawn", "--dry-run")
    assert [each["changed"] for each in dry["outcomes"]] == [True, True]
    before = reelmesh("catalog", "get", ids[0])
    reelmesh("catalog", "edit", *ids, "--add-tag", "restored print", "--state", "withdrawn")
    changed = reelmesh("catalog", "get", ids[0])
    assert (changed["state"], changed["tags"][-1]) == ("STATE_WITHDRAWN", "restored print")
    history = reelmesh("catalog", "revisions", ids[0])["revisions"]
    assert history[0]["fields"] == ["tags", "state"]
    number = int(before["revision"])
    restored = reelmesh("catalog", "restore", ids[0], str(number))
    assert (restored["tags"], restored["state"], int(restored["revision"])) == (
        before["tags"],
        before["state"],
        number + 2,
    )
    missing = reelmesh("catalog", "edit", "no such title", "--add-tag", "x", code=1)
    assert missing["outcomes"][0]["reason"] == "TITLE_UNKNOWN"
    assert reelmesh("catalog", "get", "no such title", code=1)["error"]["reason"] == "TITLE_UNKNOWN"


def test_a_caller_who_leaves_ends_the_import(platform: Platform) -> None:
    def endless() -> Any:
        yield settings(platform)
        number = 0
        while True:
            number += 1
            row = {
                "externalId": f"left-{number}",
                "kind": "KIND_FILM",
                "localizations": [{"language": "en", "title": "x"}],
            }
            yield pb.ImportTitlesRequest(data=json.dumps(row).encode() + b"\n")

    call = platform.library.ImportTitles(endless())
    answers = [next(call) for _ in range(20)]
    call.cancel()
    assert [answer.row for answer in answers] == list(range(1, 21))
    assert all(answer.effect == pb.ImportTitlesResponse.EFFECT_CREATED for answer in answers)
    # The service goes on with others.
    row = b'{"externalId":"left-1","kind":"KIND_FILM","localizations":[{"language":"en","title":"x"}]}'
    (answer,) = platform.library.ImportTitles(iter([settings(platform), pb.ImportTitlesRequest(data=row)]), timeout=20)
    assert answer.effect == pb.ImportTitlesResponse.EFFECT_UNCHANGED


def test_only_editors_import_and_export(platform: Platform, nobody: Platform) -> None:
    row = pb.ImportTitlesRequest(data=b"{}")
    other = pb.ImportTitlesRequest(
        settings=pb.ImportTitlesRequest.Settings(parent="organizations/other", format=pb.ROW_FORMAT_JSON)
    )
    export = pb.ExportTitlesRequest(parent="organizations/other", format=pb.ROW_FORMAT_JSON)
    for call, code in (
        (nobody.library.ImportTitles(iter([settings(platform), row]), timeout=20), grpc.StatusCode.UNAUTHENTICATED),
        (platform.library.ImportTitles(iter([other, row]), timeout=20), grpc.StatusCode.PERMISSION_DENIED),
        (platform.library.ExportTitles(export, timeout=20), grpc.StatusCode.PERMISSION_DENIED),
        (platform.library.ImportTitles(iter([row]), timeout=20), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert problem_of(caught.value).code is code


def test_titles_have_the_kinds_that_the_library_has(seeded: dict[str, Any], platform: Platform) -> None:
    assert seeded
    data = b"".join(
        part.data
        for part in platform.library.ExportTitles(
            pb.ExportTitlesRequest(parent=platform.parent, format=pb.ROW_FORMAT_JSON), timeout=60
        )
    )
    kinds = {json.loads(line)["kind"] for line in data.splitlines()}
    assert kinds == {Title.Kind.Name(kind) for kind in Title.Kind.values() if kind}
