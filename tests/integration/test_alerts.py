"""Alerts and popular videos from what arrived, on chDB."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from audience import At, Viewing, watch

from reelmesh.analytics.alert_reading import AlertReader
from reelmesh.analytics.alerts import Alerts
from reelmesh.analytics.history import History
from reelmesh.analytics.popularity import Popularity
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.analytics.v1.popularity_pb2 import PopularityEvent
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import VideoName
from reelmesh.stores.warehouse import Warehouse

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
_batches = itertools.count(2_000_000)


class Told:
    """Keeps alerts; may be away."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.away = False

    async def tell(self, alert: Alert) -> None:
        if self.away:
            raise Unavailable("away")
        self.alerts.append(alert)

    def take(self, organization: str) -> list[Alert]:
        """Return what was told of an organization since the last time."""
        told, self.alerts = self.alerts, []
        return [alert for alert in told if f"/{organization}/" in alert.name]


def alerts(warehouse: Warehouse, told: Told, clock: At) -> Alerts:
    reader, now = AlertReader(warehouse), At(NOW + DAY)  # it is later than what was counted
    return Alerts(warehouse, reader, told, now, fresh=clock.now, leads=lambda: True, seconds=1, days=7)


def span(
    organization: str, start: datetime, minutes: int, *, failing: dict[str, float], views: int = 20, stall_ms: int = 0
) -> Iterator[Viewing]:
    """Yield `views` a minute from two countries, of which a part fails in each: the same every time."""
    chance = random.Random((start - NOW) // MINUTE)  # noqa: S311 - a test that is the same every time
    for minute in range(minutes):
        for number in range(views):
            country = "DE" if number % 2 else "FR"
            at = start + minute * MINUTE + timedelta(seconds=number % 60)
            failed = chance.random() < failing.get(country, 0.01)
            yield Viewing(
                organization,
                at,
                (minute, number),
                country=country,
                cdn=f"cdn{number // 2 % 3}",
                video=f"v{number // 2 % 4}",
                watch_ms=120_000,
                stall_ms=stall_ms,
                failed=failed,
            )


async def past(warehouse: Warehouse, organization: str) -> None:
    """Let a week be as usual."""
    for day in range(1, 8):
        viewings = list(span(organization, NOW - day * DAY, 60, failing={}))
        await watch(warehouse, viewings, next(_batches))


async def test_a_jump_opens_once_with_its_evidence_survives_a_restart_and_ends(warehouse: Warehouse) -> None:
    organization, told, clock = f"jump-{uuid.uuid4().hex[:8]}", Told(), At(NOW + 21 * MINUTE)
    await past(warehouse, organization)
    await watch(warehouse, list(span(organization, NOW, 20, failing={})), next(_batches))
    looking = alerts(warehouse, told, clock)
    await looking.look()
    assert told.take(organization) == []

    bad = list(span(organization, NOW + 20 * MINUTE, 10, failing={"DE": 0.4}))
    await watch(warehouse, bad, next(_batches))
    clock.time = NOW + 31 * MINUTE
    await looking.look()
    opened = told.take(organization)
    assert [(alert.metric, alert.dimension, alert.value) for alert in opened] == [
        (pb.METRIC_FAILURE_RATIO, pb.DIMENSION_UNSPECIFIED, ""),
        (pb.METRIC_FAILURE_RATIO, pb.DIMENSION_COUNTRY, "DE"),
    ]
    everywhere, there = opened
    assert there.start_time.ToDatetime(UTC) == NOW + 20 * MINUTE
    assert not there.HasField("end_time")
    evidence = there.evidence
    assert evidence.observed == sum(each.failed for each in bad if each.country == "DE") / 100 > 0.3
    assert evidence.baseline == pytest.approx(0.01, abs=0.004)
    assert (evidence.observed_views, evidence.baseline_views) == (100, 7 * 600)
    assert (evidence.baseline_days, evidence.window_minutes) == (7, 10)
    assert evidence.z_score > 6
    failed = {
        f"organizations/{organization}/sessions/{uuid.UUID(bytes=each.session)}"
        for each in bad
        if each.failed and each.country == "DE"
    }
    assert len(evidence.sessions) == 10
    assert set(evidence.sessions) <= failed

    clock.time += MINUTE / 2
    await looking.look()
    assert told.take(organization) == [], "it is told once"
    restarted = alerts(warehouse, told, clock)
    await restarted.look()
    assert told.take(organization) == opened, "a new process cannot know whether it was told"
    history = History(warehouse)
    listed, _ = await history.page(organization, "", 10, only_open=True)
    assert sorted(listed, key=lambda alert: alert.dimension) == opened

    await watch(warehouse, list(span(organization, NOW + 30 * MINUTE, 20, failing={})), next(_batches))
    clock.time = NOW + 41 * MINUTE
    await restarted.look()
    assert told.take(organization) == [], "one window that is fine is not enough"
    clock.time = NOW + 51 * MINUTE
    told.away = True
    with pytest.raises(Unavailable):
        await restarted.look()
    assert len((await history.page(organization, "", 10, only_open=True))[0]) == 2, "its end is told before it ends"
    told.away = False
    await restarted.look()
    over = told.take(organization)
    assert {alert.name for alert in over} == {everywhere.name, there.name}
    assert {alert.end_time.ToDatetime(UTC) for alert in over} == {NOW + 30 * MINUTE}
    await restarted.look()
    await alerts(warehouse, told, clock).look()
    assert told.take(organization) == []
    assert (await history.page(organization, "", 10, only_open=True))[0] == []
    assert len((await history.page(organization, "", 10, only_open=False))[0]) == 2


async def test_what_was_written_but_not_told_is_told_later(warehouse: Warehouse) -> None:
    organization, told, clock = f"told-{uuid.uuid4().hex[:8]}", Told(), At(NOW + 31 * MINUTE)
    await past(warehouse, organization)
    bad = list(span(organization, NOW + 20 * MINUTE, 10, failing={"DE": 0.4, "FR": 0.4}))
    await watch(warehouse, bad, next(_batches))
    told.away = True
    with pytest.raises(Unavailable):
        await alerts(warehouse, told, clock).look()
    told.away = False
    clock.time += MINUTE
    looking = alerts(warehouse, told, clock)
    await looking.look()
    (alert,) = told.take(organization)
    assert (alert.dimension, alert.start_time.ToDatetime(UTC)) == (0, NOW + 20 * MINUTE), "wrong everywhere, told once"


async def test_stalls_are_a_jump_too(warehouse: Warehouse) -> None:
    organization, told, clock = f"stall-{uuid.uuid4().hex[:8]}", Told(), At(NOW + 31 * MINUTE)
    await past(warehouse, organization)
    bad = list(span(organization, NOW + 20 * MINUTE, 10, failing={}, stall_ms=60_000))
    await watch(warehouse, bad, next(_batches))
    await alerts(warehouse, told, clock).look()
    (alert,) = told.take(organization)
    assert (alert.metric, alert.dimension) == (pb.METRIC_REBUFFER_RATIO, 0)
    assert alert.evidence.observed == pytest.approx(1 / 3, abs=0.001)
    assert alert.evidence.baseline == 0
    assert len(alert.evidence.sessions) == 10


class MemoryPassed:
    """Remembers thresholds, and may forget to."""

    def __init__(self) -> None:
        self.held: dict[VideoName, frozenset[int]] = {}
        self.asked = 0
        self.away = False

    async def passed(self, video: VideoName) -> frozenset[int]:
        self.asked += 1
        return self.held.get(video, frozenset())

    async def remember(self, video: VideoName, thresholds: Collection[int], time: datetime) -> None:
        if self.away:
            raise Unavailable("away")
        self.held[video] = self.held.get(video, frozenset()).union(thresholds)


async def test_a_video_that_passes_thresholds_is_told_once_for_each(warehouse: Warehouse) -> None:
    organization, store, told = f"much-{uuid.uuid4().hex[:8]}", MemoryPassed(), list[PopularityEvent]()

    async def tell(events: Sequence[PopularityEvent]) -> None:
        told.extend(each for each in events if f"/{organization}/" in each.video)

    def popularity() -> Popularity:
        async def turned() -> None:
            raise AssertionError("looks are by hand")

        return Popularity(warehouse, store, tell, At(NOW + 2 * MINUTE), (10, 100), turned, lambda: True)

    async def views(count: int, minute: int, video: str = "v1") -> None:
        made = [Viewing(organization, NOW + minute * MINUTE, (video, n), video=video) for n in range(count)]
        await watch(warehouse, made, next(_batches))

    def take() -> list[tuple[str, int, int]]:
        taken = [(each.video.rpartition("/")[2], each.threshold, each.views) for each in told]
        told.clear()
        return taken

    looking = popularity()
    await views(9, 0)
    await views(120, 0, "v2")
    await looking.look()
    assert take() == [("v2", 10, 120), ("v2", 100, 120)]
    await views(1, 1)
    await looking.look()
    assert [(each.threshold, each.hour_views) for each in told] == [(10, 10)]
    assert take() == [("v1", 10, 10)]
    await views(50, 2)
    await looking.look()
    await popularity().look()
    assert take() == [], "also after a restart"

    await views(60, 3)
    store.away = True
    with pytest.raises(Unavailable):
        await looking.look()
    (first,) = told
    store.away = False
    await popularity().look()
    assert [each.id for each in told] == [first.id, first.id], "told again under its id rather than not at all"
    told.clear()
    asked = store.asked
    await looking.look()
    assert take() == [("v1", 100, 120)], "the other process has not seen what the new one did"
    assert store.asked == asked
