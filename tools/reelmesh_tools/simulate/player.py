"""A player without a picture: a buffer that a drifting network fills and watching empties, and what is told of it.

Time is whole milliseconds since the viewer asked to play. Nothing is sampled: the player goes from one thing that
happens to the next, so that every stall is as long as its downloads make it, and totals are sums of what was told.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh_tools.simulate.people import Viewer

HEARTBEAT_MS = 10_000
"""As the web player's."""
SEGMENT_MS = 4_000
BUFFER_GOAL_MS = 30_000
RESUME_MS = 2_000
"""Media that a player waits for before it starts or goes on after a stall."""
SAFE = 0.8
"""Part of the throughput that a player dares to use."""
LOOKS_MS = 2_000
"""Time to the first frame up to which hardly anybody leaves."""
LEAVING_PER_SECOND = 0.058
"""Part of those who wait that leaves in each further second (Krishnan and Sitaraman, IMC 2012)."""
MISTAKEN = 0.012
"""Part of those who ask to play that did not mean it, and leaves within moments."""
LOST = 0.03
"""Part of the viewings whose end nobody hears of: a closed lid, an empty battery."""
SPEEDS = ((4, 92), (5, 3), (6, 3), (8, 2))
"""Speeds of playback in quarters, and how common each is."""

_NEVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Rung:
    """A rendition."""

    height: int
    """Height of its picture, in pixels."""
    kbps: int
    """Its encoded bitrate."""

    @property
    def name(self) -> str:
        """As reports show it, such as "720p"."""
        return f"{self.height}p"


@dataclass(frozen=True, slots=True)
class Film:
    """A video that can be watched."""

    name: str
    """Resource name."""
    duration_ms: int
    """Length."""
    ladder: Sequence[Rung]
    """Renditions, least first; at least one."""


@dataclass(slots=True)
class _Counters:
    watch: int = 0
    stall: int = 0
    stalls: int = 0
    switches: int = 0
    dropped: int = 0
    bytes: int = 0
    upscaled: int = 0


@dataclass(slots=True)
class _Line:
    """The network, one segment after the other."""

    viewer: Viewer
    chance: random.Random
    level: float = 0.0
    broken: int = 0
    estimate: float = field(init=False)

    def __post_init__(self) -> None:
        self.estimate = self.viewer.kbps  # what the browser or the system remembers of it

    def download_ms(self, bits: float) -> int:
        """Return how long a download takes, and learn from it."""
        network = self.viewer.network
        self.level = 0.85 * self.level + network.drift * math.sqrt(1 - 0.85**2) * self.chance.gauss(0, 1)
        if self.broken == 0 and self.chance.random() < network.outages:
            self.broken = 1 + int(self.chance.expovariate(0.4))
        kbps = self.viewer.kbps * math.exp(self.level)
        if self.broken:
            self.broken -= 1
            kbps *= self.chance.uniform(0.02, 0.2)
        took = network.round_trip_ms + bits / max(kbps, 40.0)
        self.estimate = 0.7 * self.estimate + 0.3 * bits / took
        return max(1, round(took))


class Player:
    """Plays one film for one viewer."""

    def __init__(self, film: Film, viewer: Viewer, chance: random.Random, most_height: int = 0) -> None:
        """`most_height` is the greatest picture that the session allows, in pixels; 0 for any."""
        self._film, self._viewer, self._chance = film, viewer, chance
        allowed = [rung for rung in film.ladder if not most_height or rung.height <= most_height]
        self._ladder = allowed or [film.ladder[0]]
        self._line = _Line(viewer, chance)
        self._speed = chance.choices([s for s, _ in SPEEDS], [w for _, w in SPEEDS])[0]
        self._events: list[TelemetryEvent] = []
        self._totals, self._told = _Counters(), _Counters()
        self._now = 0
        self._state = PlayerState.PLAYER_STATE_STARTING
        # Positions are quarters of a millisecond, so that every speed moves by whole ones.
        self._position = 0
        self._watched_from = 0
        self._rung: Rung | None = None
        self._loaded: deque[tuple[int, Rung]] = deque()
        """Ends of the stretches that are buffered, in quarters, each with its rendition."""
        self._coming: Rung = self._choose()
        self._coming_bits = 0.0
        self._arrives = _NEVER
        self._beat = HEARTBEAT_MS
        self._patience = _NEVER
        """When a viewer leaves who waits."""
        self._resumes = _NEVER
        """When a pause ends."""
        self._fails, self._errs = self._misfortunes()
        self._whims = self._plan()
        self._stays_ms = self._interest()

    def watch(self) -> list[TelemetryEvent]:
        """Return what is told of the viewing, from its first event to its last, with times since it began.

        Events have no id yet; what they tell is complete otherwise.
        """
        self._tell(EventType.EVENT_TYPE_REQUESTED)
        if self._start():
            while self._go_on():
                pass
        if self._events[-1].type == EventType.EVENT_TYPE_ENDED and self._chance.random() < LOST:
            self._events.pop()
        return self._events

    # What a viewer is like.

    def _interest(self) -> int:
        """Return how much of the film is watched before its viewer has enough, in ms; many leave early."""
        length = self._film.duration_ms
        draw = self._chance.random()
        if draw < 0.18:
            return round(min(length, self._chance.expovariate(1 / 20_000)))
        if draw < 0.45:
            return round(length * self._chance.uniform(0.02, 0.95))
        return _NEVER  # to the end

    def _misfortunes(self) -> tuple[int, int]:
        """Return when the player fails (0: before the first frame), and when something passing goes wrong."""
        chance = self._chance
        fails = errs = _NEVER
        if chance.random() < self._viewer.machine.failures + 0.004:
            fails = 0 if chance.random() < 0.6 else round(chance.uniform(0, min(self._film.duration_ms, 1_200_000)))
        if chance.random() < 0.03:
            errs = round(chance.expovariate(1 / 120_000))
        return fails, errs

    def _plan(self) -> deque[tuple[int, str]]:
        """Return when the viewer pauses and jumps, by time since the first frame."""
        chance, at = self._chance, 0.0
        planned: deque[tuple[int, str]] = deque()
        while (at := at + chance.expovariate(1 / 240_000)) < 2 * self._film.duration_ms:
            planned.append((round(at), "pause" if chance.random() < 0.45 else "seek"))
        return planned

    # What a player does.

    def _choose(self) -> Rung:
        """Return the best rendition that the network seems to carry and the screen can show."""
        found = self._ladder[0]
        for rung in self._ladder:
            larger_than_screen = found.height >= self._viewer.machine.height
            if rung.kbps <= SAFE * self._line.estimate and not larger_than_screen:
                found = rung
        return found

    def _start(self) -> bool:
        """Get everything that the first frame needs; say whether it was shown."""
        machine, trip = self._viewer.machine, self._viewer.network.round_trip_ms
        took = machine.start_ms * self._chance.lognormvariate(0, 0.3) + 5 * trip * self._chance.lognormvariate(0, 0.4)
        self._coming = self._choose()
        bits = self._coming.kbps * SEGMENT_MS * self._chance.lognormvariate(0, 0.2)
        startup = round(took) + self._line.download_ms(bits / 2)  # half a segment is enough for a frame
        mistaken = self._chance.random() < MISTAKEN
        patience = (
            round(self._chance.uniform(150, 900))
            if mistaken
            else LOOKS_MS + round(self._chance.expovariate(-math.log1p(-LEAVING_PER_SECOND)) * 1000)
        )
        if self._fails == 0:
            self._now = max(1, round(took * self._chance.uniform(0.5, 3)))
            self._fail(self._chance.choice(["1001", "1002", "6007", "3016"]))
            return False
        if patience < startup:
            self._now = patience
            self._tell(EventType.EVENT_TYPE_EXITED_BEFORE_START)
            return False
        self._now = startup
        self._totals.bytes += round(bits / 8)
        self._rung = self._coming
        self._load()
        self._state = PlayerState.PLAYER_STATE_PLAYING
        self._tell(EventType.EVENT_TYPE_STARTED, startup_ms=startup)
        self._whims = deque((at + startup, whim) for at, whim in self._whims)
        self._fails, self._errs = self._fails + startup, self._errs + startup
        self._beat = startup + HEARTBEAT_MS
        self._fetch()
        return True

    def _load(self) -> None:
        end = (self._loaded[-1][0] if self._loaded else self._position) + 4 * SEGMENT_MS
        self._loaded.append((min(end, 4 * self._film.duration_ms), self._coming))

    def _ahead(self) -> int:
        """Return the media that is buffered, in quarters."""
        return self._loaded[-1][0] - self._position if self._loaded else 0

    def _fetch(self) -> None:
        """Ask for the next segment: at once, or when there is room for it."""
        self._arrives = _NEVER
        if self._loaded and self._loaded[-1][0] >= 4 * self._film.duration_ms:
            return
        self._coming = self._choose()
        self._coming_bits = self._coming.kbps * SEGMENT_MS * self._chance.lognormvariate(0, 0.2)
        room = max(0, self._ahead() - 4 * (BUFFER_GOAL_MS - SEGMENT_MS))
        self._arrives = self._now + -(-room // self._speed) + self._line.download_ms(self._coming_bits)

    def _playing_ends(self) -> tuple[int, str]:
        """Return when what plays now comes to something: another rendition, an empty buffer, the end, enough."""
        end, _ = self._loaded[0]
        at = self._now + -(-(end - self._position) // self._speed)
        what = "next" if len(self._loaded) > 1 else "empty"
        enough = self._now + max(0, self._stays_ms - self._totals.watch)
        return min((at, what), (enough, "leave"))

    def _go_on(self) -> bool:
        """Go to what happens next, and let it; say whether the viewing goes on."""
        playing = self._state == PlayerState.PLAYER_STATE_PLAYING
        paused = self._state == PlayerState.PLAYER_STATE_PAUSED
        happenings = [(self._arrives, "arrive"), (self._beat, "beat"), (self._patience, "leave")]
        if playing:
            happenings += [self._playing_ends(), (self._fails, "fail"), (self._errs, "err")]
            happenings += list(self._whims)[:1]
        elif paused:
            happenings.append((self._resumes, "resume"))
        at, what = min(happenings)
        self._pass(max(at, self._now))
        return bool(getattr(self, f"_on_{what}")())

    def _pass(self, now: int) -> None:
        """Let time pass."""
        passed, self._now = now - self._now, now
        if self._state == PlayerState.PLAYER_STATE_REBUFFERING:
            self._totals.stall += passed
        if self._state != PlayerState.PLAYER_STATE_PLAYING or not passed:
            return
        self._totals.watch += passed
        self._position = min(self._position + passed * self._speed, self._loaded[0][0])
        if self._rung and self._rung.height < self._viewer.machine.height:
            self._totals.upscaled += passed
        dropped = self._viewer.machine.dropped * passed / 1000
        self._totals.dropped += int(dropped) + (self._chance.random() < dropped % 1)

    # What happens.

    def _on_arrive(self) -> bool:
        self._totals.bytes += round(self._coming_bits / 8)
        self._load()
        enough = self._ahead() >= 4 * RESUME_MS or self._loaded[-1][0] >= 4 * self._film.duration_ms
        waits = self._state in {PlayerState.PLAYER_STATE_REBUFFERING, PlayerState.PLAYER_STATE_SEEKING}
        if waits and enough:
            landed = self._state == PlayerState.PLAYER_STATE_SEEKING
            self._patience = _NEVER
            self._state = PlayerState.PLAYER_STATE_PLAYING
            self._tell(EventType.EVENT_TYPE_SEEKED if landed else EventType.EVENT_TYPE_STATE_CHANGED)
            self._show()
        self._fetch()
        return True

    def _on_next(self) -> bool:
        self._loaded.popleft()
        self._show()
        return True

    def _show(self) -> None:
        """Play what is buffered first, in another rendition perhaps."""
        rung = self._loaded[0][1]
        if self._rung and rung != self._rung:
            self._rung = rung
            self._totals.switches += 1
            self._tell(EventType.EVENT_TYPE_RENDITION_CHANGED)

    def _on_empty(self) -> bool:
        self._loaded.clear()
        if self._position >= 4 * self._film.duration_ms:
            self._state = PlayerState.PLAYER_STATE_ENDED
            self._tell(EventType.EVENT_TYPE_ENDED)
            return False
        self._state = PlayerState.PLAYER_STATE_REBUFFERING
        self._totals.stalls += 1
        self._patience = self._now + 3_000 + round(self._chance.expovariate(1 / 25_000))
        self._tell(EventType.EVENT_TYPE_STATE_CHANGED)
        return True

    def _on_beat(self) -> bool:
        self._beat = self._now + HEARTBEAT_MS
        if self._state != PlayerState.PLAYER_STATE_PAUSED:  # who pauses has nothing new to say
            self._tell(EventType.EVENT_TYPE_HEARTBEAT)
        return True

    def _on_pause(self) -> bool:
        self._whims.popleft()
        self._state = PlayerState.PLAYER_STATE_PAUSED
        self._resumes = self._now + 1_000 + round(self._chance.expovariate(1 / 40_000))
        self._tell(EventType.EVENT_TYPE_STATE_CHANGED)
        # Whims are those of who watches.
        away = self._resumes - self._now
        self._whims = deque((at + away, whim) for at, whim in self._whims)
        return True

    def _on_resume(self) -> bool:
        self._resumes = _NEVER
        self._state = PlayerState.PLAYER_STATE_PLAYING
        self._tell(EventType.EVENT_TYPE_STATE_CHANGED)
        return True

    def _on_seek(self) -> bool:
        self._whims.popleft()
        # The watching so far is told where it was, the jump where it leads to.
        self._state = PlayerState.PLAYER_STATE_SEEKING
        self._tell(EventType.EVENT_TYPE_STATE_CHANGED)
        far = round(self._chance.choice([-30_000, -10_000, 10_000, 10_000, 30_000, 120_000]))
        last = max(0, self._film.duration_ms - 1_000)
        self._position = 4 * min(max(0, self._position // 4 + far), last)
        self._loaded.clear()
        self._patience = self._now + 5_000 + round(self._chance.expovariate(1 / 25_000))
        self._fetch()
        return True

    def _on_err(self) -> bool:
        self._errs = _NEVER
        self._tell(EventType.EVENT_TYPE_ERROR, error_code=self._chance.choice(["1002", "1003"]))
        return True

    def _on_fail(self) -> bool:
        self._fail(self._chance.choice(["3016", "1002", "6012"]))
        return False

    def _on_leave(self) -> bool:
        self._tell(EventType.EVENT_TYPE_ENDED)
        return False

    def _fail(self, code: str) -> None:
        self._state = PlayerState.PLAYER_STATE_FATAL
        self._tell(EventType.EVENT_TYPE_FAILED, error_code=code)

    def _tell(self, kind: EventType.ValueType, startup_ms: int = 0, error_code: str = "") -> None:
        now, told, rung = self._totals, self._told, self._rung
        position = self._position // 4
        self._events.append(
            TelemetryEvent(
                event_time_ms=self._now,
                sequence=len(self._events),
                type=kind,
                state=self._state,
                watch_ms=now.watch - told.watch,
                stall_ms=now.stall - told.stall,
                stalls=now.stalls - told.stalls,
                switches=now.switches - told.switches,
                dropped_frames=now.dropped - told.dropped,
                media_bytes=now.bytes - told.bytes,
                upscaled_ms=now.upscaled - told.upscaled,
                watch_total_ms=now.watch,
                stall_total_ms=now.stall,
                stalls_total=now.stalls,
                switches_total=now.switches,
                dropped_frames_total=now.dropped,
                media_bytes_total=now.bytes,
                upscaled_total_ms=now.upscaled,
                watched_from_ms=self._watched_from if now.watch > told.watch else 0,
                position_ms=position,
                bitrate_kbps=rung.kbps if rung else 0,
                top_bitrate_kbps=self._ladder[-1].kbps if rung else 0,
                buffer_ms=max(0, self._ahead()) // 4,
                throughput_kbps=round(self._line.estimate),
                height=rung.height if rung else 0,
                startup_ms=startup_ms,
                playback_rate=self._speed / 4,
                rendition=rung.name if rung else "",
                cdn=self._viewer.cdn,
                error_code=error_code,
            )
        )
        self._watched_from = position
        self._told = _Counters(now.watch, now.stall, now.stalls, now.switches, now.dropped, now.bytes, now.upscaled)
