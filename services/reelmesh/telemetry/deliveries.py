"""Reads lines of an edge's request log, with what players said of themselves in CMCD version 1 keys."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from reelmesh.mesh.clock import Clock
from reelmesh.telemetry.countries import Countries, network_of
from reelmesh.telemetry.door import Broker
from reelmesh.telemetry.errors import BatchTooLarge
from reelmesh.telemetry.limits import MOST_DELIVERIES
from reelmesh.telemetry.pairs import REQUEST_KEYS, Pairs, Unreadable, read
from reelmesh.telemetry.v1.record_pb2 import Delivery, DeliveryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import DeliveryLine
from reelmesh.telemetry.validation import DAY_MS, LATE_MS, SKEW_MS, Refused

MOST_CHARACTERS = 2048
"""Longest path that is kept."""
CHUNK = 1000
"""Deliveries of one record."""
ID_BYTES = 16
_STATUS = range(100, 600)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Objects lie under organization/video/job, wherever a CDN has put the media store; manifests are the video's resources.
_OBJECT = re.compile(rf"/([a-z0-9-]{{1,63}})/({_UUID})/{_UUID}/")
_MANIFEST = re.compile(rf"/organizations/([a-z0-9-]{{1,63}})/videos/({_UUID})/")


class Deliveries:
    """Takes lines of request logs."""

    def __init__(self, broker: Broker, countries: Countries | None, clock: Clock, topic: str) -> None:
        self._broker = broker
        self._countries = countries
        self._clock = clock
        self._topic = topic

    async def take(self, cdn: str, lines: Sequence[DeliveryLine]) -> tuple[int, list[Refused]]:
        """Take lines of an edge; return how many are on the topic, and what is refused.

        Raises BatchTooLarge, BrokerUnavailable.
        """
        if len(lines) > MOST_DELIVERIES:
            raise BatchTooLarge("send fewer lines at once", most_lines=MOST_DELIVERIES)
        now_ms = int(self._clock.now().timestamp() * 1000)
        taken: list[Delivery] = []
        refused: list[Refused] = []
        for index, line in enumerate(lines):
            try:
                taken.append(self._delivery(cdn, line, now_ms))
            except Unreadable as error:
                refused.append(Refused(index, error.reason, error.key))
        records = [
            DeliveryRecord(received_time_ms=now_ms, cdn=cdn, deliveries=taken[start : start + CHUNK])
            for start in range(0, len(taken), CHUNK)
        ]
        if records:
            await self._broker.confirm(self._topic, cdn, *(record.SerializeToString() for record in records))
        return len(taken), refused

    def _delivery(self, cdn: str, line: DeliveryLine, now_ms: int) -> Delivery:
        """Return what a line tells. Raises Unreadable."""
        _check(line, now_ms)
        try:
            address = urlsplit(line.uri)
        except ValueError:
            raise Unreadable("VALUE_UNREADABLE", "uri") from None
        path = unquote(address.path)
        if len(path) > MOST_CHARACTERS:
            raise Unreadable("TEXT_TOO_LONG", "uri")
        said = read(line.cmcd or parse_qs(address.query).get("CMCD", [""])[0], REQUEST_KEYS)
        place = _OBJECT.search(path) or _MANIFEST.search(path)
        network = network_of(line.client_address)
        return Delivery(
            delivery_id=_id(cdn, line),
            request_time_ms=line.request_time_ms,
            organization=place[1] if place else "",
            video=place[2] if place else "",
            session=_session(said),
            country=self._countries.of(network) if self._countries else "",
            status=line.status,
            bytes=line.bytes,
            duration_ms=line.duration_ms,
            cache_hit=line.cache_hit,
            path=path,
            object_type=said.text("ot")[:8],
            bitrate_kbps=said.total("br"),
            buffer_ms=said.least("bl"),
            throughput_kbps=said.most("mtp"),
            object_duration_ms=said.most("d"),
            starved=said.flag("bs"),
            startup=said.flag("su"),
        )


def _check(line: DeliveryLine, now_ms: int) -> None:
    """Raises Unreadable."""
    if line.request_time_ms > now_ms + SKEW_MS:
        raise Unreadable("CLOCK_SKEWED", "request_time_ms")
    if line.request_time_ms < now_ms - LATE_MS:
        raise Unreadable("EVENT_TOO_LATE", "request_time_ms")
    if line.status not in _STATUS:
        raise Unreadable("OUT_OF_RANGE", "status")
    for field, most in (("bytes", 1 << 46), ("duration_ms", DAY_MS)):
        value = getattr(line, field)
        if value < 0:
            raise Unreadable("NEGATIVE", field)
        if value > most:
            raise Unreadable("OUT_OF_RANGE", field)


def _id(cdn: str, line: DeliveryLine) -> bytes:
    """Return the id of a line, the same however often it is sent."""
    told = line.request_id.encode() if line.request_id else line.SerializeToString(deterministic=True)
    return hashlib.blake2b(told, digest_size=ID_BYTES, key=cdn.encode()[:64]).digest()


def _session(said: Pairs) -> bytes:
    """Return the session that a player names, as far as it is a UUID."""
    try:
        return uuid.UUID(said.text("sid").rpartition("/")[2]).bytes
    except ValueError:
        return b""
