"""Makes or judges one model, as a process of its own: ``python -m reelmesh.recommend.trainer FOLDER``.

It takes what the folder has, and leaves what it made there. So the service answers while a model is trained, at a lower
priority, and whatever goes wrong here ends a process and not the service. It ends when its standard input does: a
trainer whose service was killed is of no use to anyone.

    request.json    how to train, and when the viewings were divided
    everything.arrow, history.arrow    interactions (spool.SCHEMA) up to now, and of viewings before the division
    works.json      the film or series that each video counts for
    left_out.bin    pseudonyms of viewers to leave out
    running/        files of the running model, if there is one
    judged/         files of the model to judge; without it one is trained
    model/          files of the model that was trained
    result.json     what came of it
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from reelmesh.mesh.pseudonyms import SIZE
from reelmesh.recommend.artefacts import Artefact, pack, unpack
from reelmesh.recommend.baselines import by_neighbours, likeness, nearest
from reelmesh.recommend.evaluation import CUTOFF, Judged, Trial, by_popularity, judged, trial_of
from reelmesh.recommend.gate import numbers, refusal
from reelmesh.recommend.matrix import Interactions, Matrix, later_of, matrix_of, read
from reelmesh.recommend.model import Reason, Refusal
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
    read_pseudonyms,
    read_works,
    write_files,
)
from reelmesh.recommend.training import by_vectors, train

JUDGES_NEEDED = 10
"""Viewers with later viewings that a model is judged by at least."""
VIEWERS_NEEDED, TITLES_NEEDED = 20, 5
"""What a model learns from at least: of less, what is most popular is as good a guess."""
NEIGHBOURS_KEPT = 20
NICE = 10
"""How much the trainer stands back behind what answers viewers."""


def run(folder: Path) -> dict[str, Any]:
    """Do what the folder asks, and return what came of it: "refusal" (reason, message) or none, and figures."""
    request = json.loads((folder / REQUEST).read_bytes())
    left_out = read_pseudonyms(folder / LEFT_OUT)
    works = read_works(folder / WORKS)
    everything, history = read(folder / EVERYTHING, left_out), read(folder / HISTORY, left_out)
    matrix = matrix_of(history, works, request["now_ms"])
    result: dict[str, Any] = {"data": _data(everything, matrix, request)}
    if len(matrix.viewers) // SIZE < VIEWERS_NEEDED or len(matrix.titles) < TITLES_NEEDED:
        return result | _refused(
            Refusal(
                Reason.TOO_FEW_VIEWINGS,
                f"{len(matrix.viewers) // SIZE} viewers of {len(matrix.titles)} titles: a model needs "
                f"{VIEWERS_NEEDED} of {TITLES_NEEDED}",
            )
        )
    later = later_of(everything, matrix, works, request["split_ms"], request["now_ms"])
    trial = trial_of(matrix, later, request["seed"])
    if len(trial.judges) < JUDGES_NEEDED:
        return result | _refused(
            Refusal(
                Reason.TOO_FEW_VIEWINGS,
                f"{len(trial.judges)} viewers watched something new later: a model is judged by {JUDGES_NEEDED}",
            )
        )
    if (folder / JUDGED).exists():
        model = unpack(read_files(folder / JUDGED), request["judged_checksum"])
        return result | _judge(folder, request, trial, model, likeness(matrix, request["threads"]))[0]
    return result | _made(folder, request, trial)


def _made(folder: Path, request: dict[str, Any], trial: Trial) -> dict[str, Any]:
    """Train a model, judge it, and leave its files."""
    parameters, matrix = Parameters(**request["parameters"]), trial.matrix
    began = time.monotonic()
    factors = train(matrix, parameters, request["threads"])
    seconds = time.monotonic() - began
    if (refused := numbers(factors)) is not None:
        return {"training_seconds": seconds} | _refused(refused)
    alike = likeness(matrix, request["threads"])
    places, values = nearest(alike, NEIGHBOURS_KEPT)
    model = Artefact(
        titles=matrix.titles,
        factors=factors,
        popularity=matrix.popularity,
        neighbours=places,
        likeness=values,
        regularization=parameters.regularization,
        alpha=parameters.alpha,
        facts={},
    )
    found, scores = _judge(folder, request, trial, model, alike)
    facts = {
        "name": request["name"],
        "parameters": asdict(parameters),
        "versions": {package: version(package) for package in ("implicit", "numpy", "scipy")},
        "split_ms": request["split_ms"],
        "evaluation": found["evaluation"],
    }
    write_files(folder / MODEL, pack(replace(model, facts=facts), matrix.viewers))
    by_name = {score.name: score for score in scores}
    refused = refusal(by_name["als"], by_name.get("running"), by_name["most-popular"])
    return found | {"training_seconds": seconds} | (_refused(refused) if refused is not None else {})


def _judge(
    folder: Path, request: dict[str, Any], trial: Trial, model: Artefact, alike: Any
) -> tuple[dict[str, Any], list[Judged]]:
    """Judge a model beside what it is held against."""
    ways = {
        "als": _scorer(model, trial, request),
        "most-popular": by_popularity(trial.matrix),
        "item-knn": by_neighbours(alike),
    }
    if (folder / RUNNING).exists():
        running = unpack(read_files(folder / RUNNING), request["running_checksum"])
        ways["running"] = _scorer(running, trial, request)
    scores = [judged(name, scorer, trial) for name, scorer in ways.items()]
    evaluation = {
        "viewers": len(trial.judges),
        "cutoff": CUTOFF,
        "scores": [asdict(each.score) for each in scores],
    }
    return {"evaluation": evaluation}, scores


def _scorer(model: Artefact, trial: Trial, request: dict[str, Any]) -> Any:
    return by_vectors(
        model.factors, model.titles, trial.matrix.titles, model.regularization, model.alpha, request["threads"]
    )


def _data(everything: Interactions, matrix: Matrix, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "viewers": len(matrix.viewers) // SIZE,
        "titles": len(matrix.titles),
        "interactions": int(matrix.strengths.nnz),
        "start_ms": int(everything.last_ms.min(initial=request["split_ms"])),
        "split_ms": request["split_ms"],
        "end_ms": int(everything.last_ms.max(initial=request["split_ms"])),
    }


def _refused(refused: Refusal) -> dict[str, Any]:
    return {"refusal": {"reason": refused.reason.value, "message": refused.message}}


def _end_with_input() -> None:
    # Past Python's own standard input, whose lock would be in the way of an orderly end.
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> None:
    """Read the command line, and work."""
    folder = Path(sys.argv[1])
    os.nice(NICE)
    threading.Thread(target=_end_with_input, daemon=True).start()
    np.seterr(all="ignore")  # what is no number is looked for, and refused
    (folder / RESULT).write_text(json.dumps(run(folder)))


if __name__ == "__main__":
    main()
