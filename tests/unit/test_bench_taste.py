from __future__ import annotations

import numpy as np

from reelmesh_tools.bench.taste import EPISODES, Size, split_of, taste

SIZE = Size(viewers=300, titles=200, interactions=9000, clusters=5, series=0.3)


def test_an_audience_is_the_same_for_the_same_seed() -> None:
    one, same, other = taste(SIZE, 1), taste(SIZE, 1), taste(SIZE, 2)
    for column in ("viewer", "title", "episode", "seconds", "parts", "time_ms"):
        assert np.array_equal(getattr(one, column), getattr(same, column))
    assert not np.array_equal(one.title, other.title)


def test_an_audience_watches_few_titles_much_and_some_of_series() -> None:
    made = taste(SIZE, 1)
    counts = np.sort(np.bincount(made.title, minlength=SIZE.titles))[::-1]
    assert counts[:20].sum() > 2 * counts[-100:].sum()
    assert set(made.episode) == set(range(EPISODES + 1))
    assert (made.parts >= 0).all()
    assert (made.parts <= 1).all()
    assert (np.diff(made.viewer) >= 0).all()


def test_a_split_leaves_a_part_of_what_was_watched_behind() -> None:
    made = taste(SIZE, 1)
    assert np.mean(made.time_ms >= split_of(made, 0.1)) == np.float64(0.1)
