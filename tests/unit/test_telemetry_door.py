"""The door: whose batch it is, what is kept of it, and that what counts as accepted is on the topic."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from telemetry_fakes import KEYS, NOW, NOW_MS, PSEUDONYMS, SESSION, SESSION_ID, VIDEO, World, batch, event, token

from reelmesh.mesh.errors import DomainError
from reelmesh.mesh.keys import KeyRing
from reelmesh.telemetry.model import Place
from reelmesh.telemetry.sampling import Sampling
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh.telemetry.v1.telemetry_service_pb2 import (
    CONSENT_ANONYMOUS,
    CONSENT_DENIED,
    CONSENT_UNSPECIFIED,
    Client,
    ReportRequest,
)


@pytest.fixture
def world() -> World:
    return World()


async def refused(world: World, request: ReportRequest) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await world.report(request)
    assert not world.broker.published
    return caught.value


async def test_what_is_accepted_is_on_the_topic_with_all_that_is_known_of_it(world: World) -> None:
    events = [event(0), event(1)]
    client = Client(player="reelmesh-web", player_version="1.2")
    outcome = await world.report(batch(*events, client=client, sent_time_ms=NOW_MS - 7))
    assert (outcome.accepted, list(outcome.refused), list(outcome.gaps)) == (2, [], [])
    assert (outcome.time_ms, outcome.sampled) == (NOW_MS, True)
    [(topic, key, _)] = world.broker.published
    assert (topic, key) == ("topic", SESSION.rpartition("/")[2])
    assert world.broker.records() == [
        TelemetryRecord(
            received_time_ms=NOW_MS,
            sent_time_ms=NOW_MS - 7,
            organization="acme",
            video=VIDEO.rpartition("/")[2],
            session=SESSION_ID,
            viewer=PSEUDONYMS.of("acme", "users/ann"),
            network="81.2.69.0/24",
            country="GB",
            device="desktop",
            operating_system="Windows",
            browser="Chrome",
            player="reelmesh-web",
            player_version="1.2",
            experiments=["abr:fast", "skin:dark"],
            weight=1,
            source=TelemetryRecord.SOURCE_REPORT,
            events=events,
        )
    ]


async def test_wrong_events_are_left_out_and_told(world: World) -> None:
    good = [event(0), event(2), event(4)]
    wrong = [event(1, watch_ms=-1), event(3, type=0)]
    outcome = await world.report(batch(good[0], wrong[0], good[1], wrong[1], good[2]))
    assert [(each.index, each.reason) for each in outcome.refused] == [(1, "NEGATIVE"), (3, "TYPE_UNKNOWN")]
    assert outcome.accepted == 3
    assert [list(record.events) for record in world.broker.records()] == [good]


async def test_what_a_client_adds_cannot_pass_for_what_the_door_knows(world: World) -> None:
    forged = TelemetryRecord(
        viewer=b"someone else", network="1.2.3.0/24", country="XX", weight=1000, experiments=["a:b"]
    )
    request = ReportRequest.FromString(batch(event(0)).SerializeToString() + forged.SerializeToString())
    await world.report(request)
    [record] = world.broker.records()
    assert (record.country, record.weight, record.network) == ("GB", 1, "81.2.69.0/24")
    assert record.viewer == PSEUDONYMS.of("acme", "users/ann")
    assert list(record.experiments) == ["abr:fast", "skin:dark"]


async def test_nothing_is_published_of_a_batch_of_wrong_events(world: World) -> None:
    outcome = await world.report(batch(event(0, watch_ms=-1)))
    assert (outcome.accepted, len(outcome.refused)) == (0, 1)
    assert not world.broker.published
    assert (await world.report(batch())).time_ms == NOW_MS


@pytest.mark.parametrize("consent", [CONSENT_UNSPECIFIED, CONSENT_ANONYMOUS])
async def test_without_consent_nothing_tells_who_it_was(world: World, consent: Any) -> None:
    await world.report(batch(event(0), consent=consent))
    [record] = world.broker.records()
    assert (record.viewer, record.network, record.country) == (b"", "", "GB")


async def test_a_viewer_who_refuses_is_not_measured(world: World) -> None:
    outcome = await world.report(batch(event(0), event(1), consent=CONSENT_DENIED))
    assert (outcome.accepted, list(outcome.refused)) == (2, [])
    assert not world.broker.published


async def test_addresses_are_cut_and_countries_found(world: World) -> None:
    for address in ("2001:4860:4860:1234::8888", "10.1.2.3", "", "nonsense"):
        await world.report(batch(event(0)), Place(address, ""))
    assert [(record.network, record.country) for record in world.broker.records()] == [
        ("2001:4860:4860::/48", "US"),
        ("10.1.2.0/24", ""),
        ("", ""),
        ("", ""),
    ]
    await world.report(batch(event(0), token=token(country="NZ")))
    assert world.broker.records()[-1].country == "NZ"


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/142 Mobile Safari/537.36", "mobile"),
        ("Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 Chrome/142 Safari/537.36", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148", "tablet"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148", "mobile"),
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 76.0/6.0 TV Safari/537.36", "tv"),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15", "console"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15",
            "desktop",
        ),
        ("curl/8.0", "other"),
        ("", "other"),
    ],
)
async def test_devices_are_told_by_user_agent(world: World, agent: str, device: str) -> None:
    await world.report(batch(event(0)), Place("", agent))
    assert world.broker.records()[0].device == device


async def test_only_playbacks_tokens_for_telemetry_are_believed(world: World) -> None:
    forged = KeyRing({"1": KEYS.keys["1"]}).sign({"sub": SESSION})
    for bad in ("", "x", forged, token(aud="media"), token(iss="me"), token(video="v"), token(sub=VIDEO), "x" * 20_000):
        assert (await refused(world, batch(event(0), token=bad))).reason == "TELEMETRY_TOKEN_INVALID"
    other = token(video=VIDEO.replace("acme", "other"))
    assert (await refused(world, batch(event(0), token=other))).reason == "TELEMETRY_TOKEN_INVALID"


async def test_a_token_ends_also_one_that_is_remembered(world: World) -> None:
    short = token(exp=int(NOW.timestamp()) + 10)
    await world.report(batch(event(0), token=short))
    world.broker.published.clear()
    world.clock.time += timedelta(seconds=10)
    assert (await refused(world, batch(event(0), token=short))).reason == "TELEMETRY_TOKEN_EXPIRED"


async def test_a_signature_is_checked_once(world: World) -> None:
    reads = []

    class Counting:
        def read(self, text: str, *, issuer: str, audience: str) -> dict[str, Any]:
            reads.append(text)
            return KEYS.read(text, issuer=issuer, audience=audience)

    world.tokens._signatures = Counting()
    one = token()
    for sequence in range(3):
        await world.report(batch(event(sequence), token=one))
    assert reads == [one]


async def test_a_batch_of_another_viewing_is_refused_as_a_whole(world: World) -> None:
    error = await refused(world, batch(event(0), session=SESSION[:-1] + "b"))
    assert error.reason == "SESSION_FOREIGN"
    assert (await world.report(batch(event(0), session=SESSION))).accepted == 1


async def test_batches_have_bounds(world: World) -> None:
    many = [event(sequence) for sequence in range(1001)]
    assert (await refused(world, batch(*many))).reason == "BATCH_TOO_LARGE"
    large = [event(sequence, rendition="x" * 100_000) for sequence in range(110)]
    assert (await refused(world, batch(*large))).reason == "BATCH_TOO_LARGE"
    assert (await world.report(batch(*many[:1000]))).accepted == 1000


async def test_an_absent_broker_is_told_and_when_to_try_again(world: World) -> None:
    world.broker.away = True
    error = await refused(world, batch(event(0)))
    assert (error.reason, error.retry_after) == ("BROKER_UNAVAILABLE", timedelta(seconds=1))
    world.broker.away = False
    assert (await world.report(batch(event(0)))).accepted == 1


async def test_gaps_are_told_until_they_are_filled(world: World) -> None:
    async def gaps(*sequences: int) -> list[tuple[int, int]]:
        return list((await world.report(batch(*(event(sequence) for sequence in sequences)))).gaps)

    assert await gaps(3, 4) == []  # what came before may have gone elsewhere
    assert await gaps(5) == []
    assert await gaps(8, 9, 12) == [(6, 7), (10, 11)]
    assert await gaps(9, 11) == [(6, 7), (10, 10)]  # one that comes again fills nothing
    assert await gaps(7, 6, 10, 13) == []
    assert len(world.broker.records()) == 5


async def test_sampling_keeps_whole_viewings_and_says_what_they_stand_for() -> None:
    world = World(sampling=0.25)
    kept = 0
    for number in range(400):
        session = f"{SESSION[:-4]}{number:04x}"
        mine = token(sub=session)
        first, second = [await world.report(batch(event(n), token=mine)) for n in (0, 1)]
        assert first.sampled == second.sampled
        assert (first.accepted, list(first.refused)) == (1, [])
        kept += first.sampled
    assert 60 < kept < 140
    assert len(world.broker.published) == 2 * kept
    assert {record.weight for record in world.broker.records()} == {4}


def test_sampling_at_its_ends() -> None:
    assert not Sampling(0).keeps(SESSION_ID)
    assert Sampling(1).keeps(SESSION_ID)
    assert (Sampling(0).weight, Sampling(1).weight, Sampling(0.1).weight, Sampling(0.3).weight) == (1, 1, 10, 3)
    for part in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Sampling(part)
