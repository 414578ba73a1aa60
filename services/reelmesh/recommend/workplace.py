"""Where models are trained and judged: what a trainer needs is put into a folder, and its process is run there.

Most of the time and memory that a model takes is the trainer's (trainer.py). Here streams are written down as they
come.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow

from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import ModelName
from reelmesh.recommend.model import Data, Evaluation, Model, Reason, Refusal, Score
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.spool import (
    EVERYTHING,
    HISTORY,
    JUDGED,
    LEFT_OUT,
    MODEL,
    REQUEST,
    RESULT,
    RUNNING,
    WORKS,
    read_files,
    times_of,
    write_files,
    write_interactions,
    write_pseudonyms,
    write_works,
)

LATER = 0.1
"""Part of what is watched that a model is judged by, the latest of it."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""implicit has threads of its own, which those of a BLAS beneath them only slow down."""
TOLD = 2000
"""Characters of what a trainer that failed said last."""


class TrainerFailed(Exception):
    """The trainer ended without a result."""


class Audience(Protocol):
    """Who watched what; audience.py asks analytics."""

    def interactions(
        self, organization: str, start: datetime, end: datetime
    ) -> AsyncGenerator[pyarrow.RecordBatch, None]:
        """Yield interactions of viewings from `start` on, before `end`. Raises Unavailable."""


class Files(Protocol):
    """Where models are kept; artefacts.py has it."""

    async def files(self, name: ModelName, attempt: int, checksum: str) -> Mapping[str, bytes]:
        """Return the files of a model. Raises ArtefactDamaged, Unavailable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How models are made."""

    folder: Path
    """Where trainers' folders are made; nothing else is in it."""
    history: timedelta
    threads: int
    parameters: Parameters


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a training or a judgement."""

    refusal: Refusal | None
    data: Data | None = None
    evaluation: Evaluation | None = None
    files: Mapping[str, bytes] | None = None
    """Of a model that was trained."""


class Workplace:
    """Runs trainers."""

    def __init__(
        self,
        audience: Audience,
        files: Files,
        works: Callable[[str], Callable[[str], str | None]],
        left_out: Callable[[str], Awaitable[frozenset[bytes]]],
        clock: Clock,
        settings: Settings,
    ) -> None:
        """`works` returns what says which film or series a video of an organization counts for, by their ids.

        `left_out` returns the pseudonyms of those whose history is not to be used.
        """
        self._audience = audience
        self._files = files
        self._works = works
        self._left_out = left_out
        self._clock = clock
        self._settings = settings
        self._judging = asyncio.Lock()

    async def train(self, model: Model, running: Model | None) -> Outcome:
        """Train a model, and judge it beside the one that runs.

        Raises TrainerFailed, ArtefactDamaged of the one that runs, and Unavailable.
        """
        return await self._safely(self._run(model.name, None, running, None))

    async def judge(self, model: Model, running: Model | None, split: datetime) -> Outcome:
        """Judge a model by viewings from a time on, one after the other. Raises as `train` does."""
        async with self._judging:  # each takes the memory of a training
            return await self._safely(self._run(model.name, model, running, split))

    @staticmethod
    async def _safely(work: Awaitable[Outcome]) -> Outcome:
        """Let a disk that is full cost a model, and not the process that answers viewers."""
        try:
            return await work
        except OSError as error:
            raise TrainerFailed(f"the trainer's folder: {error}") from error

    async def _run(
        self, name: ModelName, judged: Model | None, running: Model | None, split: datetime | None
    ) -> Outcome:
        self._settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self._settings.folder) as made:
            folder, now = Path(made), self._clock.now()
            start = now - self._settings.history
            found = self._audience.interactions(name.organization, start, now)
            if not await write_interactions(folder / EVERYTHING, found):
                return Outcome(Refusal(Reason.TOO_FEW_VIEWINGS, "nobody watched anything"))
            if split is None:
                times = await asyncio.to_thread(times_of, folder / EVERYTHING)
                split = datetime.fromtimestamp(times.quantile(1 - LATER) / 1000, UTC)
                if running is not None and running.data is not None:
                    # The one that runs must not be judged by what it learned from.
                    split = max(split, running.data.split_time)
            await write_interactions(folder / HISTORY, self._audience.interactions(name.organization, start, split))
            work_of = self._works(name.organization)
            await asyncio.to_thread(write_works, folder / WORKS, folder / EVERYTHING, work_of)
            write_pseudonyms(folder / LEFT_OUT, await self._left_out(name.organization))
            request: dict[str, Any] = {
                "name": str(name),
                "now_ms": _milliseconds(now),
                "split_ms": _milliseconds(split),
                "threads": self._settings.threads,
                "seed": self._settings.parameters.seed,
                "parameters": asdict(self._settings.parameters),
            }
            for place, other in ((RUNNING, running), (JUDGED, judged)):
                if other is not None:
                    files = await self._files.files(other.name, other.attempt, other.checksum)
                    await asyncio.to_thread(write_files, folder / place, files)
                    request[f"{place}_checksum"] = other.checksum
            (folder / REQUEST).write_text(json.dumps(request))
            await run_trainer(folder)
            return await asyncio.to_thread(_outcome, folder)


async def run_trainer(folder: Path) -> None:
    """Run a trainer in its folder, at a lower priority. Raises TrainerFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reelmesh.recommend.trainer",
        str(folder),
        # Held open as long as this process lives: the trainer ends with it.
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    )
    if process.stderr is None:
        raise TrainerFailed("the trainer has no standard error")
    try:
        said = await process.stderr.read()
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0 or not (folder / RESULT).exists():
        raise TrainerFailed(f"the trainer ended with {status}: {said.decode(errors='replace')[-TOLD:]}")


def _outcome(folder: Path) -> Outcome:
    result = json.loads((folder / RESULT).read_bytes())
    data, evaluation, refusal = result["data"], result.get("evaluation"), result.get("refusal")
    return Outcome(
        refusal=Refusal(Reason(refusal["reason"]), refusal["message"]) if refusal else None,
        data=Data(
            viewers=data["viewers"],
            titles=data["titles"],
            interactions=data["interactions"],
            start_time=_time(data["start_ms"]),
            split_time=_time(data["split_ms"]),
            end_time=_time(data["end_ms"]),
            training_seconds=result.get("training_seconds", 0.0),
        ),
        evaluation=Evaluation(
            evaluation["viewers"], evaluation["cutoff"], tuple(Score(**score) for score in evaluation["scores"])
        )
        if evaluation
        else None,
        files=read_files(folder / MODEL) if (folder / MODEL).exists() else None,
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
