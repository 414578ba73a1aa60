"""Alerts: opened when a metric has jumped, told once, and ended when two windows in a row are fine.

What is open stands in the warehouse and nowhere else, and every look begins there: a restart changes nothing. An alert
is written down before it is told, and told again by a process that has just started, which cannot know; its end is told
before it is written down. So neither is ever left out, and names say which alert it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.analytics import alert_rows, jumps
from reelmesh.analytics.alert_reading import HOUR, NOTHING, WINDOW, AlertReader, Counts, Looked, Where, Window
from reelmesh.analytics.alert_rows import Key
from reelmesh.analytics.jumps import Share
from reelmesh.analytics.reading import Writer
from reelmesh.analytics.v1 import report_pb2 as pb
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import Unavailable

METRICS = {pb.METRIC_FAILURE_RATIO: jumps.FAILURES, pb.METRIC_REBUFFER_RATIO: jumps.REBUFFERING}
"""What is watched."""
BORROWING = frozenset({pb.DIMENSION_PLAYER_VERSION, pb.DIMENSION_VIDEO})
"""Dimensions whose values are often new: one without a past is held against that of the whole organization."""

log = logging.getLogger(__name__)


class Teller(Protocol):
    """Who is told of alerts."""

    async def tell(self, alert: Alert) -> None:
        """Return when it is safe with them. Raises Unavailable."""


class Alerts:
    """Looks for jumps."""

    def __init__(
        self,
        warehouse: Writer,
        reader: AlertReader,
        teller: Teller,
        clock: Clock,
        fresh: Callable[[], datetime | None],
        leads: Callable[[], bool],
        seconds: float,
        days: int,
    ) -> None:
        """`fresh` tells a time before which all that was received is counted; None while that is not known.

        `leads` says whether this process is the one that looks, every `seconds`; `days` make a baseline.
        """
        self._warehouse = warehouse
        self._reader = reader
        self._teller = teller
        self._clock = clock
        self._fresh = fresh
        self._leads = leads
        self._seconds = seconds
        self._days = days
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                if self._leads():
                    await self.look()
                else:
                    self._told.clear()  # whoever leads meanwhile may fail between writing and telling
            except Unavailable as error:
                log.warning("alerts wait: %s", error)
            await asyncio.sleep(self._seconds)  # what is looked at is time itself

    async def look(self) -> None:
        """Look once, at the latest windows. Raises Unavailable; then the next look does what this one left."""
        fresh = self._fresh()
        if fresh is None:
            return
        # Nothing is over because nothing was heard of it: who has fallen behind looks at what there was.
        window = Window.before(min(fresh, self._clock.now()))
        looked = await self._reader.windows(window)
        going = {alert_rows.key_of(alert): alert for alert in await self._open_ones()}
        usual = await self._reader.usual(window, self._days, _asked(looked, list(going)))
        judge = _Judge(looked, usual)
        for key in judge.jumped():
            if key not in going:
                going[key] = await self._begin(judge, key, window)
        for key, alert in going.items():
            if alert.name not in self._told:
                await self._teller.tell(alert)
                self._told.add(alert.name)
            if judge.over(key):
                await self._end(alert, window)

    async def _open_ones(self) -> Sequence[Alert]:
        return [alert_rows.alert_of(body) for (body,) in await self._warehouse.rows(alert_rows.open_ones())]

    async def _begin(self, judge: _Judge, key: Key, window: Window) -> Alert:
        alert = alert_rows.opened(key, window.start)
        now, usual = judge.now(key), judge.usual(key)
        evidence = alert.evidence
        evidence.observed, evidence.baseline = now.value, usual.value
        evidence.observed_views = round(judge.counts(key).views)
        evidence.baseline_views = round(judge.baseline(key).views)
        evidence.baseline_days = judge.baseline(key).days
        evidence.z_score = jumps.surprise(now, usual)
        evidence.window_minutes = WINDOW // timedelta(minutes=1)
        evidence.sessions.extend(await self._reader.worst(key, window))
        await self._write(alert)
        log.warning("%s opens: %s %s", alert.name, pb.Metric.Name(key.metric), key.value)
        return alert

    async def _end(self, alert: Alert, window: Window) -> None:
        over = alert_rows.ended(alert, window.previous.start)
        await self._teller.tell(over)
        await self._write(over)
        self._told.discard(alert.name)
        log.warning("%s is over", alert.name)

    async def _write(self, alert: Alert) -> None:
        await self._warehouse.run(alert_rows.insertion(alert, int(self._clock.now().timestamp() * 1000)))


def _where(key: Key) -> Where:
    return Where(key.organization, key.dimension, key.value)


def _asked(looked: Looked, going: Sequence[Key]) -> set[Where]:
    """Return the places whose past is worth reading: where something is as bad as it must be to matter at all."""
    bad = {
        place
        for place, (now, _) in looked.items()
        for metric, kind in METRICS.items()
        if now.share(metric, WINDOW).value >= kind.least
    }
    places = bad | {_where(key) for key in going}
    return places | {place.whole for place in places}


class _Judge:
    """Says what has jumped and what is over, of what was read."""

    def __init__(self, looked: Looked, usual: Mapping[Where, Counts]) -> None:
        self._looked = looked
        self._usual = usual

    def jumped(self) -> Iterator[Key]:
        """Yield what shows a jump, the whole of an organization before its values."""
        for place in sorted(self._looked, key=lambda place: (place.organization, place.dimension, place.value)):
            for metric, kind in METRICS.items():
                key = Key(place.organization, metric, place.dimension, place.value)
                others = None
                if place.dimension:
                    whole, _ = self._looked.get(place.whole, (NOTHING, NOTHING))
                    others = whole.share(metric, WINDOW).without(self.now(key))
                if jumps.opens(kind, self.now(key), self.usual(key), others):
                    yield key

    def over(self, key: Key) -> bool:
        """Say whether neither of the two windows shows anything."""
        usual, kind = self.usual(key), METRICS[key.metric]
        windows = self._looked.get(_where(key), (NOTHING, NOTHING))
        return all(jumps.fine(kind, window.share(key.metric, WINDOW), usual) for window in windows)

    def counts(self, key: Key) -> Counts:
        """Return what the latest window has."""
        return self._looked[_where(key)][0]

    def now(self, key: Key) -> Share:
        """Return what part of the latest window goes wrong."""
        return self.counts(key).share(key.metric, WINDOW)

    def baseline(self, key: Key) -> Counts:
        """Return what is usual, or what is in the whole organization for what is too new to say."""
        place = _where(key)
        own = self._usual.get(place, NOTHING)
        new = own.share(key.metric, HOUR).whole < METRICS[key.metric].views
        return self._usual.get(place.whole, NOTHING) if new and key.dimension in BORROWING else own

    def usual(self, key: Key) -> Share:
        """Return what part of the baseline went wrong."""
        return self.baseline(key).share(key.metric, HOUR)
