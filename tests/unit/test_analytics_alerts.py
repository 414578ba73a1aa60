"""What counts as a jump, against scipy and against noise."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from reelmesh.analytics import jumps
from reelmesh.analytics.alert_reading import HOUR, WINDOW, Counts, Where, Window
from reelmesh.analytics.alert_rows import Key, alert_of, ended, key_of, name_of, opened
from reelmesh.analytics.alerts import _Judge
from reelmesh.analytics.jumps import FAILURES, REBUFFERING, Share, fine, opens, surprise
from reelmesh.analytics.v1 import report_pb2 as pb

START = datetime(2026, 11, 26, 12, 20, tzinfo=UTC)
KEY = Key("acme", pb.METRIC_FAILURE_RATIO, pb.DIMENSION_CDN, "north")


def test_a_window_ends_with_the_last_minute_that_is_filled() -> None:
    window = Window.before(datetime(2026, 11, 26, 12, 31, 59, tzinfo=UTC))
    assert (window.start, window.end) == (START, START + timedelta(minutes=10))
    assert window.previous.end == window.start


@pytest.mark.parametrize(
    ("now", "usual"),
    [
        (Share(300, 1000), Share(1000, 10_000)),
        (Share(12, 60), Share(40, 4000)),
        (Share(7, 100), Share(70, 7000)),
        (Share(3, 50), Share(0, 50)),
    ],
)
def test_surprise_is_the_lesser_of_two_tests(now: Share, usual: Share) -> None:
    table = [[now.part, now.whole - now.part], [usual.part, usual.whole - usual.part]]
    exact = stats.norm.isf(stats.fisher_exact(table, alternative="greater").pvalue)
    normal = math.sqrt(stats.chi2_contingency(table, correction=False).statistic)
    assert surprise(now, usual) == pytest.approx(min(exact, normal))


def test_less_than_usual_and_nothing_at_all_surprise_nobody() -> None:
    assert surprise(Share(1, 100), Share(20, 1000)) == 0
    assert surprise(Share(0, 0), Share(20, 1000)) == 0
    assert surprise(Share(50, 50), Share(0, 0)) == 0
    assert surprise(Share(50, 50), Share(50, 50)) == 0
    assert surprise(Share(2000, 2000), Share(0, 100_000)) > 30


def test_what_opens() -> None:
    usual = Share(100, 10_000)
    assert opens(FAILURES, Share(30, 200), usual, None)
    assert not opens(FAILURES, Share(14, 49), usual, None), "too few views"
    assert not opens(FAILURES, Share(30, 200), Share(0, 49), None), "no past"
    assert not opens(FAILURES, Share(6, 200), usual, None), "may be chance"
    assert not opens(FAILURES, Share(19_000, 1_000_000), Share(100_000, 10_000_000), None), "sure, but who cares"
    assert not opens(FAILURES, Share(30_000, 100_000), Share(250_000, 1_000_000), None), "it is always bad"
    assert not opens(FAILURES, Share(30, 200), usual, Share(120, 800)), "wrong everywhere"
    assert opens(FAILURES, Share(30, 200), usual, Share(8, 800))


def test_it_is_fine_long_before_it_would_open_again() -> None:
    usual = Share(100, 10_000)
    assert not fine(FAILURES, Share(12, 200), usual)
    assert not opens(FAILURES, Share(10, 200), usual, None)
    assert fine(FAILURES, Share(3, 200), usual)
    assert fine(FAILURES, Share(40, 40), usual), "nobody is there to suffer"


def test_noise_opens_nothing_for_months() -> None:
    random = np.random.default_rng(7)
    windows = 90 * 144  # ten minutes each
    opened_ones = 0
    for ratio in (0.002, 0.01, 0.05, 0.2):
        for views in (50, 200, 1000):
            failed = random.binomial(views, ratio, windows)
            before = random.binomial(views * 42, ratio, windows)
            for part, past in zip(failed, before, strict=True):
                now, usual = Share(float(part), views), Share(float(past), views * 42)
                opened_ones += opens(FAILURES, now, usual, None)
    assert opened_ones == 0


def counts(random: np.random.Generator, viewers: int, span: timedelta, stalling: float) -> Counts:
    """Let viewers play through a span; few of them stall, and those much."""
    milliseconds = span / timedelta(milliseconds=1)
    length = random.random(viewers) * milliseconds
    stalls = (random.random(viewers) < 0.05) * random.beta(0.5, 0.5 * (0.05 / stalling - 1), viewers)
    return Counts(viewers, 0, float((length * (1 - stalls)).sum()), float((length * stalls).sum()))


def test_a_few_viewers_who_stall_much_are_noise_and_many_are_not() -> None:
    random = np.random.default_rng(8)
    metric = pb.METRIC_REBUFFER_RATIO
    usual = counts(random, 200 * 7, HOUR, 0.01).share(metric, HOUR)
    for _ in range(3000):
        now = counts(random, 200, WINDOW, 0.01).share(metric, WINDOW)
        assert not opens(REBUFFERING, now, usual, None)
    stalled = Counts(200, 0, 200 * 250_000, 200 * 50_000).share(metric, WINDOW)
    assert opens(REBUFFERING, stalled, usual, None)


def judge(now: dict[str, tuple[int, int]], usual: dict[str, tuple[int, int]]) -> _Judge:
    """Make a judge of failures and views by country; "" is the whole."""

    def where(value: str) -> Where:
        return Where("acme", pb.DIMENSION_COUNTRY if value else pb.DIMENSION_UNSPECIFIED, value)

    def of(pair: tuple[int, int]) -> Counts:
        return Counts(pair[1], pair[0])

    return _Judge(
        {where(value): (of(pair), of((0, 0))) for value, pair in now.items()},
        {where(value): of(pair) for value, pair in usual.items()},
    )


def test_what_is_wrong_in_one_place_is_told_of_it_and_what_is_wrong_everywhere_once() -> None:
    usual = {"": (200, 20_000), "DE": (100, 10_000), "FR": (100, 10_000)}
    one = judge({"": (105, 1000), "DE": (100, 500), "FR": (5, 500)}, usual)
    assert [key.value for key in one.jumped()] == ["", "DE"]
    all_ = judge({"": (200, 1000), "DE": (100, 500), "FR": (100, 500)}, usual)
    assert [key.value for key in all_.jumped()] == [""]


def test_a_new_version_is_held_against_what_is_usual_elsewhere() -> None:
    whole, new = Where("acme"), Where("acme", pb.DIMENSION_PLAYER_VERSION, "web 2.0")
    country = Where("acme", pb.DIMENSION_COUNTRY, "XX")
    looked = {
        whole: (Counts(5000, 150), Counts()),
        new: (Counts(200, 100), Counts()),
        country: (Counts(200, 100), Counts()),
    }
    found = _Judge(looked, {whole: Counts(100_000, 1000)})
    assert [key.value for key in found.jumped()] == ["", "web 2.0"]


def test_an_alert_has_the_name_that_follows_from_what_it_is_about() -> None:
    alert = opened(KEY, START)
    assert alert.name == str(name_of(KEY, START)) == opened(KEY, START).name
    assert alert.name != opened(KEY, START + timedelta(minutes=1)).name
    assert key_of(alert) == KEY
    assert alert_of(alert.SerializeToString().hex()) == alert
    assert ended(alert, START + timedelta(hours=1)).end_time.ToDatetime(UTC) == START + timedelta(hours=1)
    assert ended(alert, START - timedelta(hours=1)).end_time == alert.start_time
    assert not alert.HasField("end_time")


def test_thresholds_are_strict_enough_for_how_often_it_is_looked() -> None:
    looks = 2880 * 500 * 2
    assert looks * 365 * stats.norm.sf(jumps.SURE) < 1.1
