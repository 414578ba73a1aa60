"""The recommender on a generated audience: what it finds and takes, what the gate refuses, and where vectors lie."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from reelmesh.mesh.errors import Unavailable
from reelmesh.recommend.artefacts import MANIFEST, Artefact, checksum_of, unpack
from reelmesh.recommend.evaluation import Trial, by_popularity, judged, trial_of
from reelmesh.recommend.gate import refusal
from reelmesh.recommend.matrix import later_of, matrix_of, read
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.spool import EVERYTHING, HISTORY, MODEL, REQUEST, RESULT, WORKS, read_files, read_works
from reelmesh.recommend.training import by_vectors
from reelmesh.recommend.workplace import run_trainer
from reelmesh_tools.bench import vectors
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.taste import Size, split_of, taste

VIEWER_INTERACTIONS = 40
"""Viewings of a viewer in the mean."""
AGAIN = 1.27
"""Viewings that are made for each interaction: some are of what the viewer had watched before, some come too late."""
_PLANTED = (
    "Generated, with planted structure: clusters of taste, popularity by Zipf's law, tastes and titles that change "
    "with time. It says that structure is found, not how well real viewers are served."
)
Say = Callable[[str], None]


def measure(
    interactions: Sequence[int], titles: int, nearest: Sequence[int], threads: int, seed: int, say: Say
) -> dict[str, Any]:
    """Train on so many interactions each; `nearest` are numbers of titles whose vectors are looked through."""
    result: dict[str, Any] = {
        "data": _PLANTED,
        "seed": seed,
        "threads": threads,
        "cores": os.cpu_count(),
        "parameters": asdict(Parameters()),
        "trainings": [],
    }
    factors = np.zeros((0, 0), np.float32)
    with tempfile.TemporaryDirectory(prefix="reelmesh-bench-") as made:
        for count in interactions:
            folder = Path(made) / f"{count}"
            say(f"making an audience of {count:,} interactions")
            result["trainings"].append(_training(folder, count, titles, threads, seed, say))
            if "gate" not in result:
                say("asking the gate")
                with threadpool_limits(limits=1, user_api="blas"):
                    result["gate"], factors = _gate(folder, threads)
    if nearest:
        try:
            result["vectors"] = vectors.measure(factors, nearest, say)
        except Unavailable as error:
            raise BenchError(f"the vectors in Cassandra: {error}") from error
    result["load_average"] = round(os.getloadavg()[0], 1)
    return result


def _training(folder: Path, interactions: int, titles: int, threads: int, seed: int, say: Say) -> dict[str, Any]:
    viewings = int(interactions * AGAIN)
    made = taste(Size(viewings // VIEWER_INTERACTIONS, titles, viewings), seed)
    request = {"name": "", "threads": threads, "seed": seed, "parameters": asdict(Parameters())}
    made.write(folder, split_of(made), int(made.time_ms.max()), **request)
    del made
    say(f"training on {interactions:,} interactions")
    began = time.monotonic()
    asyncio.run(run_trainer(folder))
    seconds = time.monotonic() - began
    found = json.loads((folder / RESULT).read_bytes())
    data = found["data"]
    return {
        "viewings": viewings,
        "interactions": data["interactions"],
        "viewers": data["viewers"],
        "titles": data["titles"],
        "training_seconds": round(found["training_seconds"], 2),
        "trainer_seconds": round(seconds, 2),
        "trainer_rss_peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10,
        "refusal": found.get("refusal"),
        "judges": found["evaluation"]["viewers"],
        "cutoff": found["evaluation"]["cutoff"],
        "scores": {score["name"]: _figures(score) for score in found["evaluation"]["scores"]},
    }


def _gate(folder: Path, threads: int) -> tuple[dict[str, Any], Any]:
    """Hold a model against one whose vectors are those of other titles, and against itself."""
    request = json.loads((folder / REQUEST).read_bytes())
    works = read_works(folder / WORKS)
    matrix = matrix_of(read(folder / HISTORY), works, request["now_ms"])
    later = later_of(read(folder / EVERYTHING), matrix, works, request["split_ms"], request["now_ms"])
    trial = trial_of(matrix, later, request["seed"])
    files = read_files(folder / MODEL)
    model = unpack(files, checksum_of(files[MANIFEST]))
    running = _judged(model, model.factors, trial, threads, "running")
    shuffled = np.random.default_rng(request["seed"]).permutation(model.factors)
    popular = judged("most-popular", by_popularity(matrix), trial)
    told = {}
    for name, factors in (("same", model.factors), ("shuffled", shuffled)):
        new = _judged(model, factors, trial, threads, "als")
        refused = refusal(new, running, popular)
        told[name] = {
            **_figures(asdict(new.score)),
            "refused": {"reason": refused.reason.value, "message": refused.message} if refused else None,
        }
    return told, model.factors


def _judged(model: Artefact, factors: Any, trial: Trial, threads: int, name: str) -> Any:
    scorer = by_vectors(factors, model.titles, trial.matrix.titles, model.regularization, model.alpha, threads)
    return judged(name, scorer, trial)


def _figures(score: dict[str, Any]) -> dict[str, float]:
    return {name: round(figure, 4) for name, figure in score.items() if name != "name"}
