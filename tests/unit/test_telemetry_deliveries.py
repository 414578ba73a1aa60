"""Request logs of edges, with CMCD version 1 keys."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import pytest
from telemetry_fakes import NOW_MS, SESSION, SESSION_ID, VIDEO, MemoryBroker, SetClock

from reelmesh.mesh.errors import DomainError
from reelmesh.telemetry.countries import Countries
from reelmesh.telemetry.deliveries import Deliveries
from reelmesh.telemetry.v1.record_pb2 import Delivery, DeliveryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import DeliveryLine

ID = VIDEO.rpartition("/")[2]
PATH = f"/media/acme/{ID}/{uuid.UUID(int=7)}/v720/seg-3.m4s"
CMCD = f'bl=21300,br=3200,bs,d=4004,mtp=25400,ot=v,sid="{SESSION.rpartition("/")[2]}",su'


class Log:
    """An edge's log, and the topic behind the door."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.deliveries = Deliveries(self.broker, Countries(), SetClock(), "topic")

    async def send(self, *lines: DeliveryLine) -> tuple[int, list[tuple[int, str, str]]]:
        accepted, refused = await self.deliveries.take("edge", lines)
        return accepted, [(each.index, each.reason, each.field) for each in refused]

    def stored(self) -> list[Delivery]:
        return [each for _, _, value in self.broker.published for each in DeliveryRecord.FromString(value).deliveries]


def line(**changes: Any) -> DeliveryLine:
    good: dict[str, Any] = {
        "request_id": "r1",
        "request_time_ms": NOW_MS,
        "uri": f"{PATH}?token=secret&CMCD={quote(CMCD)}",
        "status": 206,
        "bytes": 1_600_000,
        "duration_ms": 120,
        "cache_hit": True,
        "client_address": "81.2.69.142",
    }
    return DeliveryLine(**{**good, **changes})


@pytest.fixture
def log() -> Log:
    return Log()


async def test_a_line_says_who_asked_for_what(log: Log) -> None:
    assert await log.send(line()) == (1, [])
    [stored] = log.stored()
    assert len(stored.delivery_id) == 16
    stored.ClearField("delivery_id")
    assert stored == Delivery(
        request_time_ms=NOW_MS,
        organization="acme",
        video=ID,
        session=SESSION_ID,
        country="GB",
        status=206,
        bytes=1_600_000,
        duration_ms=120,
        cache_hit=True,
        path=PATH,
        object_type="v",
        bitrate_kbps=3200,
        buffer_ms=21_300,
        throughput_kbps=25_400,
        object_duration_ms=4004,
        starved=True,
        startup=True,
    )


async def test_headers_do_as_well_as_a_query_and_manifests_as_media(log: Log) -> None:
    manifest = f"/v1/{VIDEO}/hls/main.m3u8"
    await log.send(line(uri=manifest, cmcd='ot=m,sid="own-name",sf=h'), line(uri="/favicon.ico"))
    first, second = log.stored()
    assert (first.organization, first.video, first.object_type, first.session) == ("acme", ID, "m", b"")
    assert (second.organization, second.video, second.path) == ("", "", "/favicon.ico")


async def test_a_line_has_the_same_id_however_often_it_is_sent(log: Log) -> None:
    unnamed = line(request_id="")
    await log.send(line(), line(), line(request_id="r2"), unnamed, unnamed, line(request_id="", bytes=5))
    ids = [stored.delivery_id for stored in log.stored()]
    assert ids[0] == ids[1]
    assert ids[3] == ids[4]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"request_time_ms": NOW_MS + 600_000}, "CLOCK_SKEWED", "request_time_ms"),
        ({"request_time_ms": 1}, "EVENT_TOO_LATE", "request_time_ms"),
        ({"status": 7}, "OUT_OF_RANGE", "status"),
        ({"bytes": -1}, "NEGATIVE", "bytes"),
        ({"duration_ms": -1}, "NEGATIVE", "duration_ms"),
        ({"duration_ms": 1 << 62}, "OUT_OF_RANGE", "duration_ms"),
        ({"uri": "/" + "x" * 3000}, "TEXT_TOO_LONG", "uri"),
        ({"uri": "http://[half/x"}, "VALUE_UNREADABLE", "uri"),
        ({"cmcd": "br=,"}, "LINE_UNREADABLE", ""),
        ({"cmcd": "br=fast"}, "VALUE_UNREADABLE", "br"),
        ({"cmcd": "br=-3"}, "NEGATIVE", "br"),
        ({"cmcd": "zz=3"}, "UNKNOWN_KEY", "zz"),
        ({"cmcd": "bs=3"}, "VALUE_UNREADABLE", "bs"),
    ],
    ids=str,
)
async def test_a_wrong_line_is_refused_and_its_neighbours_are_not(
    log: Log, change: dict[str, Any], reason: str, field: str
) -> None:
    assert await log.send(line(), line(**change), line(request_id="r3")) == (2, [(1, reason, field)])
    assert len(log.stored()) == 2


async def test_logs_have_bounds_and_are_split_for_kafka(log: Log) -> None:
    with pytest.raises(DomainError) as caught:
        await log.send(*([line()] * 5001))
    assert caught.value.reason == "BATCH_TOO_LARGE"
    assert await log.send(*([line()] * 2500)) == (2500, [])
    assert len(log.broker.published) == 3
