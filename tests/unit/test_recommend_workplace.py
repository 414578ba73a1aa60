"""A trainer has what it needs, and whatever becomes of it costs no more than a model."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pyarrow
import pytest

from reelmesh.mesh.names import ModelName
from reelmesh.recommend.artefacts import MANIFEST, VIEWERS, among, checksum_of, unpack
from reelmesh.recommend.model import Model, Reason, State
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.spool import REQUEST
from reelmesh.recommend.workplace import Settings, TrainerFailed, Workplace, run_trainer
from reelmesh_tools.bench.taste import Size, taste

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)
MODEL = Model(ModelName("acme", str(uuid.UUID(int=1))), State.TRAINING, NOW, attempt=1)


class Clock:
    def now(self) -> datetime:
        return NOW


class Viewings:
    """An audience that was made, as analytics exports it."""

    def __init__(self, folder: Path, size: Size | None = None) -> None:
        self._folder = folder
        self._made = taste(size, 3, end_ms=int(NOW.timestamp() * 1000) - 1) if size else None
        self.asked: list[tuple[datetime, datetime]] = []

    async def interactions(
        self, organization: str, start: datetime, end: datetime
    ) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        self.asked.append((start, end))
        if self._made is None:
            return
        before = int(end.timestamp() * 1000)
        self._made.write(self._folder, before, before)
        with pyarrow.memory_map(str(self._folder / "history.arrow")) as source, pyarrow.ipc.open_file(source) as reader:
            table = reader.read_all()
        for batch in table.to_batches(max_chunksize=1000):
            yield batch


class Files:
    """A running model that is none: what is made of it fails."""

    async def files(self, name: ModelName, attempt: int, checksum: str) -> Mapping[str, bytes]:
        return {MANIFEST: b"{}"}


def work_of(video: str) -> str | None:
    """Say that every video but some is a film of its own."""
    return None if video.endswith("3") else video


def workplace(tmp_path: Path, audience: Viewings, left_out: frozenset[bytes] = frozenset()) -> Workplace:
    async def opted_out(organization: str) -> frozenset[bytes]:
        return left_out

    settings = Settings(tmp_path / "work", timedelta(days=365), 1, Parameters(factors=8, iterations=4))
    return Workplace(audience, Files(), lambda organization: work_of, opted_out, Clock(), settings)


async def test_a_model_is_made_of_what_came_before_the_last_tenth(tmp_path: Path) -> None:
    audience = Viewings(tmp_path / "made", Size(viewers=150, titles=120, interactions=5000, clusters=5))
    outcome = await workplace(tmp_path, audience, frozenset({(7).to_bytes(16)})).train(MODEL, None)
    assert outcome.refusal is None
    assert outcome.data is not None
    assert outcome.files is not None
    (start, now), (again, split) = audience.asked
    assert (start, now) == (again, NOW) == (NOW - timedelta(days=365), NOW)
    assert outcome.data.split_time == split
    assert outcome.data.start_time < split < outcome.data.end_time < now
    model = unpack(outcome.files, checksum_of(outcome.files[MANIFEST]))
    assert len(model.titles) == outcome.data.titles
    assert not any(title.endswith("3") for title in model.titles)
    assert among(outcome.files[VIEWERS], (8).to_bytes(16))
    assert not among(outcome.files[VIEWERS], (7).to_bytes(16))
    assert list((tmp_path / "work").iterdir()) == []


async def test_the_running_model_is_not_judged_by_what_it_learned_from(tmp_path: Path) -> None:
    audience = Viewings(tmp_path / "made", Size(viewers=150, titles=120, interactions=5000, clusters=5))
    place = workplace(tmp_path, audience)
    first = await place.train(MODEL, None)
    assert first.data is not None
    later = first.data.split_time + timedelta(days=3)
    running = replace(MODEL, data=replace(first.data, split_time=later))
    with pytest.raises(TrainerFailed, match="ArtefactDamaged"):  # which is no model
        await place.train(MODEL, running)
    assert audience.asked[-1][1] == later
    assert list((tmp_path / "work").iterdir()) == []


async def test_nobody_makes_no_model(tmp_path: Path) -> None:
    outcome = await workplace(tmp_path, Viewings(tmp_path)).train(MODEL, None)
    assert outcome.refusal is not None
    assert outcome.refusal.reason is Reason.TOO_FEW_VIEWINGS
    assert outcome.data is None


async def test_a_disk_without_room_costs_the_model(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("no folder")
    with pytest.raises(TrainerFailed):
        await workplace(tmp_path, Viewings(tmp_path)).train(MODEL, None)


async def test_a_trainer_whose_service_stops_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / REQUEST)  # what it waits for
    running = asyncio.create_task(run_trainer(tmp_path))
    # It is opened on this side when it is on the other.
    with await asyncio.wait_for(asyncio.to_thread((tmp_path / REQUEST).open, "wb"), 20):
        # Processes of other tests may have ended without having been waited for: they have no command line to read.
        trainers = [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in (each.info["cmdline"] or ())]
        assert len(trainers) == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not any(each.is_running() for each in trainers)
