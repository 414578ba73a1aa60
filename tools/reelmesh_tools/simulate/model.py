"""An audience: who comes when, and what they watch. Pure: the same seed gives the same audience, to the last event.

Times are milliseconds since the simulated span began. Only session ids and absolute times are not of the model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reelmesh.telemetry.v1.event_pb2 import EventType, TelemetryEvent
from reelmesh_tools.simulate.people import Viewer, viewer
from reelmesh_tools.simulate.player import Film, Player

MINUTE_MS = 60_000
AGAIN = 0.3
"""Chance that who has watched something watches another thing."""
AT_PREMIERE = 0.7
"""Part of an audience that comes for a premiere, and not by the time of day."""
MOST_TURNS = 20
"""Viewings of one viewer, at most."""
EVENING = 21.0
"""Hour of the day, where the audience lives, at which the simulated span ends."""
NIGHT = 5.0
"""Hour at which the fewest come."""
REPEATED_BATCHES = REPEATED_EVENTS = 0.005
"""Chance that a batch is sent twice, and that an event is: one event in a hundred comes again."""
MOST_EVENTS = 50
"""Events in a batch where a viewing is told after the fact."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """One viewing of one film, not yet played."""

    viewer: Viewer
    """Who watches."""
    film: Film
    """What they watch."""
    start_ms: int
    """When they asked to play."""
    seed: str
    """What all its chance comes from."""

    def events(self, most_height: int = 0) -> list[TelemetryEvent]:
        """Return what its player tells, with times since it began and without ids.

        `most_height` is the greatest picture that the session allows, in pixels; 0 for any.
        """
        return Player(self.film, self.viewer, random.Random(self.seed), most_height).watch()  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are sent together."""

    due_ms: int
    """When they are sent, since the viewing began."""
    events: tuple[TelemetryEvent, ...]
    """The events; some may have been sent before."""


def audience(seed: int, viewers: int, minutes: int, films: Sequence[Film], *, burst: bool = False) -> list[Viewing]:
    """Return all viewings of so many viewers in so many minutes, in the order in which they begin.

    Arrivals are a Poisson process: given how many come, their times are drawn one by one from its intensity, which is
    that of a day that ends in the evening, or with `burst` that of a premiere.
    """
    span = minutes * MINUTE_MS
    found = []
    for number in range(viewers):
        chance = random.Random(f"{seed}/{number}")  # noqa: S311 - the same audience again is the point
        who = viewer(f"audience-{seed}-{number}", chance)
        at = _arrival(span, chance, burst=burst)
        for turn in range(MOST_TURNS):
            film = chance.choices(films, [1 / (1 + place) for place in range(len(films))])[0]
            viewing = Viewing(who, film, at, f"{seed}/{number}/{turn}")
            found.append(viewing)
            if chance.random() >= AGAIN:
                break
            # Another one begins after this one ended, whatever the session allows.
            at += viewing.events()[-1].event_time_ms + round(chance.uniform(5_000, 60_000))
            if at >= span:
                break
    return sorted(found, key=lambda each: (each.start_ms, each.seed))


def told_by(events: Sequence[TelemetryEvent], until_ms: int) -> list[TelemetryEvent]:
    """Return the events that happened before a time, in ms since the viewing began."""
    return [event for event in events if event.event_time_ms < until_ms]


def stamped(events: Sequence[TelemetryEvent], began_ms: int, seed: str) -> list[TelemetryEvent]:
    """Return events with their times, in ms since 1970, and their ids: `began_ms` is when the viewing began."""
    chance = random.Random(f"{seed}/ids")  # noqa: S311 - ids, not secrets
    made = []
    for event in events:
        copy = TelemetryEvent()
        copy.CopyFrom(event)
        copy.event_time_ms += began_ms
        copy.event_id = event_id(copy.event_time_ms, chance.getrandbits(74))
        made.append(copy)
    return made


def event_id(time_ms: int, noise: int) -> bytes:
    """Return a UUID of version 7 of a time in ms since 1970, with 74 bits of noise."""
    value = time_ms << 80 | 0x7 << 76 | (noise >> 62) << 64 | 0b10 << 62 | noise & ((1 << 62) - 1)
    return value.to_bytes(16)


def batches(events: Sequence[TelemetryEvent], began_ms: int, seed: str, *, live: bool) -> Iterator[Batch]:
    """Yield a viewing's stamped events as they are sent, about one event in a hundred again on purpose.

    Live, a player sends what has happened at every heartbeat and when something matters; after the fact, as much as
    fits.
    """
    chance = random.Random(f"{seed}/repeats")  # noqa: S311 - no secret
    again: list[TelemetryEvent] = []
    for group in _groups(events, live=live):
        due = group[-1].event_time_ms - began_ms
        batch = Batch(due, (*group, *again))
        yield batch
        if chance.random() < REPEATED_BATCHES:
            yield batch
        again = [event for event in group if chance.random() < REPEATED_EVENTS]
    if again:
        yield Batch(events[-1].event_time_ms - began_ms, tuple(again))


_QUIET = {EventType.EVENT_TYPE_STATE_CHANGED, EventType.EVENT_TYPE_RENDITION_CHANGED}
"""Events that wait for the next one that is sent."""


def _groups(events: Sequence[TelemetryEvent], *, live: bool) -> Iterator[list[TelemetryEvent]]:
    group: list[TelemetryEvent] = []
    for event in events:
        group.append(event)
        if len(group) >= MOST_EVENTS or (live and event.type not in _QUIET):
            yield group
            group = []
    if group:
        yield group


def _arrival(span_ms: int, chance: random.Random, *, burst: bool) -> int:
    """Draw when someone comes, by rejection from the intensity."""
    if burst and chance.random() < AT_PREMIERE:
        return min(span_ms - 1, round(span_ms * 0.05 + chance.expovariate(1 / (0.06 * span_ms))))
    while True:
        at = chance.random() * span_ms
        hour = (EVENING - (span_ms - at) / (60 * MINUTE_MS)) % 24
        if chance.random() < intensity(hour):
            return int(at)


def intensity(hour: float) -> float:
    """Return how many come at an hour of the day, 1 being the most: a slow rise from the night to the evening."""
    since, rise = (hour - NIGHT) % 24, EVENING - NIGHT
    phase = since / rise if since < rise else 1 + (since - rise) / (24 - rise)
    return 0.1 + 0.9 * (0.5 - 0.5 * math.cos(phase * math.pi)) ** 2
