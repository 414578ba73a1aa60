"""Translates event reports of CMCD version 2 into our events.

Players say what they do, not what it adds up to. What passed between two lines (watched, stalled) is counted here, from
their times, so the viewing is remembered from line to line: its lines must reach one process, and a process that was
started anew counts from its next line on. A line makes one event with the line's own sequence; its id follows from the
line, so that one which is posted again is the same event.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field

from reelmesh.telemetry.pairs import EVENT_KEYS, Pairs, Unreadable, read
from reelmesh.telemetry.v1.event_pb2 import EventType, PlayerState, TelemetryEvent
from reelmesh.telemetry.validation import DAY_MS, LATE_MS, SKEW_MS, out_of_bounds

VERSION = 2
MOST_RUNS = 8
"""Ids of its own that a player may have within one viewing."""
UNSEEN_MS = 6 * 3_600_000
"""Longest time without a line that counts as played, where a player does not report at intervals."""
BEATS = 3
"""As many intervals without a line count as played, where it does: the machine slept, or the network was away."""
EXTRA = 1 << 31
"""Added to the sequence of a line that makes a second event."""
JUMP_MS = 1000
"""How much further than the time that passed a position may be without a jump."""
SESSION_VERSION = 7

# fmt: off
_EVENTS = frozenset(
    {
        "abe", "abs", "ae", "as", "b", "bc", "c", "ce", "e", "m", "pc", "pe", "pr", "ps", "rr", "sk", "t", "um",
    }
)
# fmt: on
_STATES = {
    "s": PlayerState.PLAYER_STATE_STARTING,
    "d": PlayerState.PLAYER_STATE_STARTING,
    "p": PlayerState.PLAYER_STATE_PLAYING,
    "k": PlayerState.PLAYER_STATE_SEEKING,
    "r": PlayerState.PLAYER_STATE_REBUFFERING,
    "a": PlayerState.PLAYER_STATE_PAUSED,
    "w": PlayerState.PLAYER_STATE_PAUSED,
    "e": PlayerState.PLAYER_STATE_ENDED,
    "q": PlayerState.PLAYER_STATE_ENDED,
    "f": PlayerState.PLAYER_STATE_FATAL,
}
_PLAYING, _REBUFFERING, _SEEKING = _STATES["p"], _STATES["r"], _STATES["k"]


@dataclass(slots=True)
class Story:
    """A viewing as far as its lines have told it."""

    runs: dict[str, int] = field(default_factory=dict)
    """For each id that the player gave itself, what is added to its sequences."""
    following: int = 0
    """The sequence after the largest."""
    time_ms: int = 0
    """Of the latest line; 0 before the first."""
    first_ms: int = 0
    state: PlayerState.ValueType = PlayerState.PLAYER_STATE_UNSPECIFIED
    stalling: bool = False
    requested: bool = False
    started: bool = False
    over: bool = False
    beat_ms: int = 0
    """Of the latest report at an interval."""
    interval_ms: int = 0
    """Shortest time between two of those; 0 while it is not known."""
    position_ms: int | None = None
    bitrate_kbps: int = 0
    watch_total_ms: int = 0
    stall_total_ms: int = 0
    stalls_total: int = 0
    switches_total: int = 0
    dropped_frames_total: int = 0


def _sequence(story: Story, run: str, number: int | None, time_ms: int) -> int:
    """Return the sequence of a player's line `number`, which counts anew with each id that it gives itself.

    It counts anew too when it loads again and keeps its id. Raises Unreadable.
    """
    base = story.runs.get(run)
    if base is not None and number == 0 and time_ms > story.time_ms:
        base = None
    if base is None:
        if run not in story.runs and len(story.runs) >= MOST_RUNS:
            raise Unreadable("OUT_OF_RANGE", "sid")
        base = story.runs[run] = story.following
    sequence = story.following if number is None else base + number
    story.following = max(story.following, sequence + 1)
    return sequence


def translate(line: str, session: bytes, story: Story, now_ms: int) -> list[TelemetryEvent]:
    """Return the events of a line, and go on with the story. Raises Unreadable; the story is then as it was."""
    pairs = read(line, EVENT_KEYS)
    event = _event(pairs, now_ms)
    own_session(pairs.text("sid"), session)
    numbered = _own(pairs, "sn")
    if numbered is not None and numbered >= EXTRA >> 1:
        raise Unreadable("SEQUENCE_INVALID", "sn")
    event.sequence = _sequence(story, pairs.text("sid"), numbered, event.event_time_ms)
    # From here on nothing is refused.
    kind, said, bitrate, startup = pairs.text("e"), pairs.text("sta"), event.bitrate_kbps, _own(pairs, "msd")
    event.event_id = _id(event.event_time_ms, session, line)
    _time_passes(story, event, startup, kind, placed="pt" in pairs)
    _counters(story, event, pairs)
    if kind == "bc" and bitrate and story.bitrate_kbps and bitrate != story.bitrate_kbps:
        event.switches, story.switches_total = 1, story.switches_total + 1
    event.switches_total, story.bitrate_kbps = story.switches_total, bitrate or story.bitrate_kbps
    event.type = _type(story, kind, said, startup)
    if event.type == EventType.EVENT_TYPE_STARTED:
        event.startup_ms = startup or 0
    return _with_request(story, event, session, line, first=numbered in (0, None))


def own_session(sid: str, session: bytes) -> None:
    """Refuse a session id of ours that is another's. Players may have ids of their own, of another version.

    Raises Unreadable.
    """
    try:
        id_ = uuid.UUID(sid.rpartition("/")[2])
    except ValueError:
        return
    if id_.version == SESSION_VERSION and id_.bytes != session:
        raise Unreadable("SESSION_FOREIGN", "sid")


def _event(pairs: Pairs, now_ms: int) -> TelemetryEvent:
    """Return what a line says of itself. Raises Unreadable."""
    for key in ("e", "ts"):
        if key not in pairs:
            raise Unreadable("LINE_UNREADABLE", key)
    if pairs.text("e") not in _EVENTS:
        raise Unreadable("TYPE_UNKNOWN", "e")
    if "v" in pairs and pairs.most("v") != VERSION:
        raise Unreadable("VALUE_UNREADABLE", "v")
    time_ms = pairs.most("ts")
    if time_ms > now_ms + SKEW_MS:
        raise Unreadable("CLOCK_SKEWED", "ts")
    if time_ms < now_ms - LATE_MS:
        raise Unreadable("EVENT_TOO_LATE", "ts")
    state = pairs.text("sta")
    if state and state not in _STATES:
        raise Unreadable("TYPE_UNKNOWN", "sta")
    event = TelemetryEvent(
        event_time_ms=time_ms,
        position_ms=pairs.most("pt"),
        bitrate_kbps=pairs.total("br"),
        top_bitrate_kbps=pairs.total("tb"),
        buffer_ms=pairs.least("bl"),
        throughput_kbps=pairs.most("mtp"),
        playback_rate=max(pairs.numbers("pr"), default=1.0),
        cdn=pairs.text("cdn"),
        error_code=pairs.written("ec"),
        # Looked at with the others, and replaced by what the viewing adds up to.
        startup_ms=pairs.most("msd"),
        stalls_total=pairs.most("bsa"),
        stall_total_ms=pairs.most("bsda"),
        dropped_frames_total=pairs.most("dfa"),
    )
    wrong = next(out_of_bounds(event), None)
    if wrong:
        raise Unreadable(*wrong)
    if state:
        event.state = _STATES[state]
    event.startup_ms = 0
    return event


def _own(pairs: Pairs, key: str) -> int | None:
    """Return a number that a line has; None where it has none. Raises Unreadable."""
    return pairs.most(key) if key in pairs else None


def _id(time_ms: int, session: bytes, line: str) -> bytes:
    made = bytearray(time_ms.to_bytes(6) + hashlib.sha256(session + line.encode()).digest()[:10])
    made[6] = made[6] & 0x0F | 0x70
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def _time_passes(story: Story, event: TelemetryEvent, startup: int | None, kind: str, *, placed: bool) -> None:
    """Count what passed since the line before, and take up the new state. A line that comes late changes nothing.

    `placed` says whether the line has a position.
    """
    now, before = event.event_time_ms, story.time_ms
    story.first_ms = story.first_ms or now
    if now < before or kind == "rr":  # a response is told with the time of its request
        event.state = event.state or story.state
        return
    passed = min(now - before, BEATS * story.interval_ms or UNSEEN_MS) if before else 0
    if story.state == _PLAYING and (story.started or startup is not None):
        if not story.started:
            # "Playing" may mean that it could: the first frame came when the startup had passed.
            passed = now - min(now, max(before, story.first_ms + (startup or 0)))
        event.watch_ms = passed
        event.watched_from_ms = _watched_from(story, event, passed)
    elif story.stalling:
        event.stall_ms = passed
    elif placed and story.started and not story.state:
        _moved(story, event, passed)
    if kind == "t":
        gap = now - story.beat_ms
        if story.beat_ms and gap:
            story.interval_ms = min(story.interval_ms or gap, gap)
        story.beat_ms = now
    state = event.state or story.state
    if state == _REBUFFERING and story.state == _PLAYING and story.started:
        event.stalls, story.stalling = 1, True
    elif state != _REBUFFERING:
        story.stalling = False
    story.time_ms, story.state, event.state = now, state, state
    story.position_ms = event.position_ms if placed else None


def _moved(story: Story, event: TelemetryEvent, passed: int) -> None:
    """Count what a player watched that never says whether it plays: as far as its position moved, if it did not jump.

    Without positions it might as well have been paused, so nothing is counted.
    """
    before, rate = _watched_from(story, event, passed), event.playback_rate or 1.0
    moved = round((event.position_ms - before) / rate)
    if moved:
        event.watch_ms = min(passed, moved)
        event.watched_from_ms = before


def _watched_from(story: Story, event: TelemetryEvent, passed: int) -> int:
    """Return where the watching began that ended at a line's position; that position where a jump lies between."""
    before, now = story.position_ms, event.position_ms
    if before is None or not 0 <= now - before <= passed * max(1.0, event.playback_rate) + JUMP_MS:
        return now
    return before


def _counters(story: Story, event: TelemetryEvent, pairs: Pairs) -> None:
    """Add up what passed; what a player counts itself it knows better."""
    if "bsa" in pairs:
        event.stalls = max(0, event.stalls_total - story.stalls_total)
    if "bsda" in pairs:
        event.stall_ms = min(DAY_MS, max(0, event.stall_total_ms - story.stall_total_ms))
    event.dropped_frames = max(0, event.dropped_frames_total - story.dropped_frames_total)
    for name in ("watch", "stall"):
        total = getattr(story, f"{name}_total_ms") + getattr(event, f"{name}_ms")
        setattr(story, f"{name}_total_ms", total)
        setattr(event, f"{name}_total_ms", total)
    for name in ("stalls", "dropped_frames"):
        total = getattr(story, f"{name}_total") + getattr(event, name)
        setattr(story, f"{name}_total", total)
        setattr(event, f"{name}_total", total)


def _type(story: Story, kind: str, said: str, startup: int | None) -> EventType.ValueType:
    """Return what happened, and note what happens once."""
    if said in {"e", "q", "f"} and not story.over:
        story.over = True
        if said == "f":
            return EventType.EVENT_TYPE_FAILED
        return EventType.EVENT_TYPE_ENDED if story.started else EventType.EVENT_TYPE_EXITED_BEFORE_START
    if startup is not None and not story.started:
        story.started = True
        return EventType.EVENT_TYPE_STARTED
    if kind == "e":
        return EventType.EVENT_TYPE_ERROR
    if kind == "bc":
        return EventType.EVENT_TYPE_RENDITION_CHANGED
    if kind == "ps":
        return EventType.EVENT_TYPE_SEEKED if said == "k" else EventType.EVENT_TYPE_STATE_CHANGED
    return EventType.EVENT_TYPE_HEARTBEAT


def _with_request(
    story: Story, event: TelemetryEvent, session: bytes, line: str, *, first: bool
) -> list[TelemetryEvent]:
    """Let a viewing begin with its player's first line."""
    if story.requested or not first:
        return [event]
    story.requested = True
    if event.type in {EventType.EVENT_TYPE_HEARTBEAT, EventType.EVENT_TYPE_STATE_CHANGED}:
        event.type = EventType.EVENT_TYPE_REQUESTED
        return [event]
    requested = TelemetryEvent(
        event_id=_id(event.event_time_ms, session, f"requested {line}"),
        event_time_ms=event.event_time_ms,
        sequence=event.sequence + EXTRA,
        type=EventType.EVENT_TYPE_REQUESTED,
        state=PlayerState.PLAYER_STATE_STARTING,
    )
    return [requested, event]
