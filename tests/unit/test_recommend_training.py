"""Models find planted structure, are judged as plain counting says, and are refused when they are worse."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from reelmesh.recommend import trainer
from reelmesh.recommend.artefacts import Artefact, among, checksum_of, pack, unpack
from reelmesh.recommend.baselines import by_neighbours, likeness, nearest
from reelmesh.recommend.evaluation import Judged, Trial, by_popularity, judged, trial_of
from reelmesh.recommend.factors import Factors, taste_of
from reelmesh.recommend.gate import numbers, refusal
from reelmesh.recommend.interactions import WHOLE_SECONDS, strengths, weights
from reelmesh.recommend.matrix import DAY_MS, Matrix, later_of, matrix_of, read
from reelmesh.recommend.model import Reason
from reelmesh.recommend.parameters import Parameters
from reelmesh.recommend.spool import MODEL, RUNNING, SCHEMA, read_files, read_works, write_files
from reelmesh.recommend.training import by_vectors, train
from reelmesh.recommend.workplace import ONE_THREAD
from reelmesh_tools.bench.taste import Size, Taste, split_of, taste

NOW = 1_760_000_000_000
PARAMETERS = Parameters(factors=16, iterations=8)


def id_of(number: int) -> bytes:
    return number.to_bytes(16)


def interactions(folder: Path, *rows: tuple[int, int, int, float, int]) -> Path:
    """Write interactions: viewer, video, seconds, completion, days ago."""
    file = folder / "interactions.arrow"
    rows = tuple(sorted(rows))
    columns: list[list[Any]] = [
        [id_of(row[0]) for row in rows],
        [id_of(row[1]) for row in rows],
        [row[2] * 1000 for row in rows],
        [row[3] for row in rows],
        [NOW - row[4] * DAY_MS for row in rows],
    ]
    arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=SCHEMA))
    return file


def test_watching_speaks_for_a_title_by_how_much_and_how_long_ago() -> None:
    assert weights([3600], [0.9], [0])[0] == pytest.approx(0.9)
    assert weights([3600], [0.9], [180])[0] == pytest.approx(0.45)
    assert weights([WHOLE_SECONDS / 2], [0], [0])[0] == pytest.approx(0.5)
    assert weights([59, 59, 61], [0.05, 0.2, 0.05], [0, 0, 0]).tolist() == pytest.approx([0, 0.2, 0.05])
    assert strengths([0, 1, 7]).tolist() == pytest.approx([0, 1, 3])


def test_a_matrix_has_a_row_of_each_viewer_and_a_column_of_each_title(tmp_path: Path) -> None:
    every = [(viewer, 1, 3600, 1.0, 0) for viewer in (1, 2, 3)]  # three watched film 1
    every += [(viewer, 10 + viewer, 3600, 1.0, 0) for viewer in (1, 2, 3)]  # and an episode of series 2
    every += [(1, 12, 3600, 1.0, 0), (2, 20, 3600, 1.0, 0)]  # one another one; one what nobody else did
    every += [(4, 99, 3600, 1.0, 0), (5, 1, 5, 0.001, 0)]  # what is no title, and no more than a look
    works = {
        id_of(video): "film" if video == 1 else "other" if video == 20 else "series" for video in (1, 11, 12, 13, 20)
    }
    matrix = matrix_of(read(interactions(tmp_path, *every)), works, NOW)
    assert matrix.titles == ("film", "series")
    assert matrix.viewers == id_of(1) + id_of(2) + id_of(3)
    expected = [[1, math.log2(3)], [1, 1], [1, 1]]
    assert matrix.strengths.toarray().tolist() == [pytest.approx(row) for row in expected]
    assert matrix.popularity.tolist() == [3, 3]
    without = matrix_of(read(tmp_path / "interactions.arrow", {id_of(9), id_of(5)}), works, NOW)
    assert without.viewers == matrix.viewers
    nobody = matrix_of(read(tmp_path / "interactions.arrow", {id_of(2)}), works, NOW)
    assert nobody.viewers == b""  # two are too few for a title


def test_later_is_what_was_watched_then_and_not_before(tmp_path: Path) -> None:
    film, other = id_of(1), id_of(2)
    works = {film: "film", other: "other"}
    before = [
        (viewer, video, 3600, 1.0, 30) for viewer in (1, 2, 3, 4) for video in (1, 2) if (viewer, video) != (1, 2)
    ]
    matrix = matrix_of(read(interactions(tmp_path, *before)), works, NOW)
    then = [*before, (1, 2, 3600, 1.0, 1), (9, 2, 3600, 1.0, 1)]
    then[1] = (2, 1, 3600, 1.0, 2)  # seen again
    everything = read(interactions(tmp_path, *then))
    later = later_of(everything, matrix, works, NOW - 10 * DAY_MS, NOW)
    assert later.shape == (4, 2)
    assert [tuple(map(int, pair)) for pair in zip(*later.nonzero(), strict=True)] == [(0, 1)]


def test_figures_are_what_plain_counting_says() -> None:
    titles = ("a", "b", "c", "d", "e")
    seen = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], np.float32)
    later = np.array([[0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], np.float32)
    matrix = Matrix(sparse.csr_matrix(seen), titles, b"".join(map(id_of, range(3))))
    trial = trial_of(matrix, sparse.csr_matrix(later), 1)
    assert trial.judges.tolist() == [0, 1]
    # The first is shown b and c: one hit, first. The second c and d: one hit, first.
    found = judged("most-popular", by_popularity(matrix), trial, cutoff=2)
    assert found.recalls.tolist() == [1 / 2, 1]
    assert found.ndcgs.tolist() == pytest.approx([1 / (1 + 1 / math.log2(3)), 1])
    assert found.coverage == 3 / 5
    # Of the four other titles b is watched more than 3, c than 2, d than none.
    assert found.popularity_bias == pytest.approx((3 / 4 + 2 / 4 + 2 / 4 + 0) / 4)
    assert found.score.recall == 3 / 4


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A BLAS of one thread, as a trainer has it."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def made() -> Taste:
    return taste(Size(viewers=700, titles=250, interactions=30_000, clusters=8), seed=3)


@pytest.fixture(scope="module")
def trial(made: Taste, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder, split = tmp_path_factory.mktemp("taste"), split_of(made)
    made.write(folder, split, NOW)
    works = read_works(folder / "works.json")
    matrix = matrix_of(read(folder / "history.arrow"), works, NOW)
    return trial_of(matrix, later_of(read(folder / "everything.arrow"), matrix, works, split, NOW), 1)


@pytest.fixture(scope="module")
def factors(trial: Trial) -> Any:
    return train(trial.matrix, PARAMETERS, 2)


def als(factors: Any, trial: Trial, name: str = "als") -> Judged:
    titles = trial.matrix.titles
    scorer = by_vectors(factors, titles, titles, PARAMETERS.regularization, PARAMETERS.alpha, 2)
    return judged(name, scorer, trial)


def test_vectors_find_planted_structure_better_than_what_is_popular(trial: Trial, factors: Any) -> None:
    popular = judged("most-popular", by_popularity(trial.matrix), trial).score
    neighbours = judged("item-knn", by_neighbours(likeness(trial.matrix, 2)), trial).score
    score = als(factors, trial).score
    assert score.recall > 1.3 * popular.recall
    assert neighbours.recall > 1.2 * popular.recall
    assert score.coverage > 3 * popular.coverage
    assert popular.popularity_bias > score.popularity_bias


def test_the_same_data_and_seed_make_the_same_model_with_any_threads(trial: Trial, factors: Any) -> None:
    assert np.array_equal(train(trial.matrix, PARAMETERS, 1), factors)


def test_viewers_are_judged_as_they_are_served(trial: Trial, factors: Any) -> None:
    titles, rows = trial.matrix.titles, trial.matrix.strengths[:5]
    scorer = by_vectors(factors, titles, titles, PARAMETERS.regularization, PARAMETERS.alpha, 1)
    model = Factors.of("m", titles, factors, PARAMETERS.regularization, PARAMETERS.alpha)
    for row, scores in zip(rows, scorer(rows), strict=True):
        watched = {titles[place]: float(row.toarray().ravel()[place]) for place in row.nonzero()[1]}
        taste_ = taste_of(model, watched)
        assert taste_ is not None
        assert np.allclose(factors @ taste_.vector, scores, atol=1e-3)


def test_a_model_of_another_library_chooses_what_both_have(trial: Trial, factors: Any) -> None:
    titles = trial.matrix.titles
    order = np.random.default_rng(1).permutation(len(titles))[: len(titles) - 20]
    fewer = (*(titles[place] for place in order), "gone")
    theirs = np.vstack([factors[order], np.ones((1, factors.shape[1]), np.float32)])
    rows = trial.matrix.strengths[:30]
    scores = by_vectors(theirs, fewer, titles, PARAMETERS.regularization, PARAMETERS.alpha, 1)(rows)
    known = np.isin(titles, fewer)
    assert np.isfinite(scores[:, known]).all()
    assert np.isneginf(scores[:, ~known]).all()
    whole = by_vectors(factors, titles, titles, PARAMETERS.regularization, PARAMETERS.alpha, 1)(rows)
    assert np.corrcoef(scores[:, known].ravel(), whole[:, known].ravel())[0, 1] > 0.9


def test_neighbours_are_who_was_watched_by_the_same(trial: Trial) -> None:
    dense = trial.matrix.strengths.toarray().astype(np.float64)
    unit = dense / np.linalg.norm(dense, axis=0)
    expected = unit.T @ unit
    np.fill_diagonal(expected, 0)
    places, values = nearest(likeness(trial.matrix, 1), 3)
    for title in (0, 7, 100):
        best = np.sort(expected[title])[::-1][:3]
        assert values[title].tolist() == pytest.approx(best.tolist(), abs=1e-5)
        assert expected[title, places[title]].tolist() == pytest.approx(best.tolist(), abs=1e-5)


def test_the_gate_refuses_a_model_whose_vectors_are_mixed_up(trial: Trial, factors: Any) -> None:
    popular = judged("most-popular", by_popularity(trial.matrix), trial)
    running = als(factors, trial, "running")
    assert refusal(als(factors, trial), running, popular) is None
    broken = als(np.random.default_rng(1).permutation(factors), trial)
    for against in (running, None):
        refused = refusal(broken, against, popular)
        assert refused is not None
        assert refused.reason is Reason.RECALL_WORSE
        assert f"{broken.score.recall:.4f}" in refused.message


def judged_as(recalls: Any, ndcgs: Any = None, coverage: float = 0.5) -> Judged:
    recalls = np.asarray(recalls, float)
    return Judged("als", recalls, recalls if ndcgs is None else np.asarray(ndcgs, float), coverage, 0.5)


def test_the_gate_lets_chance_pass_and_nothing_more() -> None:
    running = judged_as([0.2, 0.4] * 500)
    popular = judged_as([0.0] * 1000)
    assert refusal(judged_as([0.195, 0.395] * 500), running, popular) is None  # a loss that nobody would notice
    worse = refusal(judged_as([0.18, 0.38] * 500), running, popular)
    assert worse is not None
    assert worse.reason is Reason.RECALL_WORSE
    ndcg = refusal(judged_as([0.2, 0.4] * 500, [0.18, 0.38] * 500), running, popular)
    assert ndcg is not None
    assert ndcg.reason is Reason.NDCG_WORSE
    coverage = refusal(judged_as([0.2, 0.4] * 500, coverage=0.39), running, popular)
    assert coverage is not None
    assert coverage.reason is Reason.COVERAGE_WORSE
    # As large a loss among few is no more than a chance.
    few = np.random.default_rng(2).random(12)
    assert refusal(judged_as(few[::-1] - 0.02), judged_as(few), popular) is None


def test_vectors_that_are_no_numbers_are_refused(factors: Any) -> None:
    assert numbers(factors) is None
    damaged = factors.copy()
    damaged[3, 1] = np.nan
    for wrong in (damaged, np.zeros_like(factors), np.full_like(factors, np.inf)):
        refused = numbers(wrong)
        assert refused is not None
        assert refused.reason is Reason.NUMBERS_INVALID


def request(made: Taste, folder: Path, **more: Any) -> None:
    parameters = asdict(PARAMETERS)
    made.write(
        folder, split_of(made), NOW, name="organizations/a/models/m", threads=1, seed=1, parameters=parameters, **more
    )


def test_a_trainer_leaves_a_model_and_says_what_it_is_worth(made: Taste, tmp_path: Path) -> None:
    request(made, tmp_path)
    (tmp_path / "left_out.bin").write_bytes(id_of(5))
    command = [sys.executable, "-W", "error", "-m", "reelmesh.recommend.trainer", str(tmp_path)]
    with subprocess.Popen(command, env=ONE_THREAD, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # Its input stays open until it ends.
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait() == 0
    result = json.loads((tmp_path / "result.json").read_bytes())
    assert "refusal" not in result
    assert [each["name"] for each in result["evaluation"]["scores"]] == ["als", "most-popular", "item-knn"]
    files = read_files(tmp_path / MODEL)
    model = unpack(files, checksum_of(files["manifest.json"]))
    assert result["data"]["titles"] == len(model.titles)
    assert result["data"]["viewers"] == len(files["viewers.bin"]) // 16
    assert among(files["viewers.bin"], id_of(6))
    assert not among(files["viewers.bin"], id_of(5))


def test_a_trainer_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "request.json")  # what it waits for
    command = [sys.executable, "-m", "reelmesh.recommend.trainer", str(tmp_path)]
    with subprocess.Popen(command, env=ONE_THREAD, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 1


def test_a_trainer_refuses_what_is_worse_than_the_running_model(made: Taste, trial: Trial, tmp_path: Path) -> None:
    better = train(trial.matrix, PARAMETERS, 2)
    request(made, tmp_path)
    titles = len(trial.matrix.titles)
    running = Artefact(
        titles=trial.matrix.titles,
        factors=better,
        popularity=trial.matrix.popularity,
        neighbours=np.zeros((titles, 1), np.int32),
        likeness=np.zeros((titles, 1), np.float32),
        regularization=PARAMETERS.regularization,
        alpha=PARAMETERS.alpha,
        facts={},
    )
    files = pack(running, b"")
    write_files(tmp_path / RUNNING, files)
    asked = json.loads((tmp_path / "request.json").read_bytes())
    asked["running_checksum"] = checksum_of(files["manifest.json"])
    asked["parameters"]["iterations"] = 0  # vectors of chance
    (tmp_path / "request.json").write_text(json.dumps(asked))
    result = trainer.run(tmp_path)
    assert result["refusal"]["reason"] == Reason.RECALL_WORSE
    assert [each["name"] for each in result["evaluation"]["scores"]][-1] == "running"


def test_too_few_viewings_make_no_model(tmp_path: Path) -> None:
    request(taste(Size(viewers=15, titles=30, interactions=600, clusters=2), seed=1), tmp_path)
    assert trainer.run(tmp_path)["refusal"]["reason"] == Reason.TOO_FEW_VIEWINGS
