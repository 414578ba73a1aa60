"""The audit log: everything noted is written, and read again a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from drm_fakes import NOW, SESSION, VIDEO

from reelmesh.drm import decisions as under_test
from reelmesh.drm.decisions import BATCH, Audit, Decision, Decisions, Place, Trail
from reelmesh.drm.errors import AuditBehind, IntervalTooLong
from reelmesh.drm.messages import decision_to_proto, decode, encode
from reelmesh.drm.systems import System
from reelmesh.mesh.errors import PageTokenInvalid, Unavailable
from reelmesh.mesh.names import SessionName


def decision(number: int = 0, time: datetime = NOW) -> Decision:
    return Decision(
        id=f"00000000-0000-7000-8000-{number:012}",
        time=time,
        session=SessionName.parse(SESSION),
        video=VIDEO,
        viewer="users/ann",
        system=System.CLEAR_KEY,
        persistent=True,
        client="192.0.2.7",
    )


class Book:
    """Where decisions are written; away for the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[list[Decision]] = []
        self.complete = asyncio.Event()
        self.expected = 0

    async def write(self, decisions: Sequence[Decision]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.batches.append(list(decisions))
        if len(self.written) >= self.expected:
            self.complete.set()

    @property
    def written(self) -> list[Decision]:
        return [decision for batch in self.batches for decision in batch]


@pytest.mark.parametrize("failures", [0, 1])
async def test_all_is_written_in_order_while_it_runs(failures: int) -> None:
    first, second = Book(failures), Book()
    audit = Audit([Trail("first", first.write), Trail("second", second.write)])
    noted = [decision(number) for number in range(BATCH + 3)]
    first.expected = second.expected = len(noted)
    running = asyncio.create_task(audit.run())
    for each in noted:
        audit.note(each)
    await asyncio.gather(first.complete.wait(), second.complete.wait())
    running.cancel()
    assert first.written == second.written == noted
    assert [len(batch) for batch in second.batches] == [BATCH, 3]


async def test_a_stop_leaves_nothing_unwritten() -> None:
    book = Book(1)
    trail = Trail("book", book.write)
    running = asyncio.create_task(trail.run())
    trail.note(decision(1))
    running.cancel()
    trail.note(decision(2))  # by a call that was under way
    await trail.finish()
    assert book.written == [decision(1), decision(2)]


async def test_a_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(under_test, "FINISH_SECONDS", 0.01)
    trail = Trail("nowhere", Book(1000).write)
    trail.note(decision())
    await trail.finish()
    assert "1 decisions about licenses did not reach nowhere" in caplog.text


async def test_what_cannot_be_taken_down_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "BACKLOG", 1)
    book = Book()
    audit = Audit([Trail("book", book.write)])
    audit.note(decision(1))
    with pytest.raises(AuditBehind):
        audit.note(decision(2))
    await audit.finish()
    audit.note(decision(3))
    await audit.finish()
    assert book.written == [decision(1), decision(3)]


@pytest.mark.parametrize("changes", [{"key_ids": (b"1" * 16, b"2" * 16)}, {"reason": "TOKEN_EXPIRED", "viewer": ""}])
def test_decisions_are_kept_whole(changes: dict[str, object]) -> None:
    for system in System:
        made = replace(decision(7), system=system, **changes)  # type: ignore[arg-type]
        assert decode(encode(made)) == made
        assert decision_to_proto(made).granted is (made.reason == "")


class MemoryDecisions:
    """Decisions in a list; notes which days were read."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions = sorted(decisions, key=lambda each: (each.time, each.id), reverse=True)
        self.days: list[date] = []

    async def of_day(
        self, organization: str, day: date, since: datetime, before: Place, size: int
    ) -> Sequence[Decision]:
        self.days.append(day)
        return [
            each
            for each in self.decisions
            if each.video.organization == organization
            and each.time.date() == day
            and each.time >= since
            and (each.time, each.id) < (before.time, before.id)
        ][:size]


async def test_a_list_goes_back_over_days() -> None:
    made = [decision(number, NOW - timedelta(hours=9 * number)) for number in range(10)]
    made.append(decision(10, made[4].time))
    store = MemoryDecisions(made)
    log = Decisions(store)
    expected = sorted(made, key=lambda each: (each.time, each.id), reverse=True)
    for size in (1, 3, 11, 100):
        found: list[Decision] = []
        position = ""
        while True:
            page, position = await log.page("acme", None, NOW + timedelta(seconds=1), position, size)
            assert len(page) <= size
            found += page
            if not position:
                break
        assert found == expected
    between = await log.page("acme", made[3].time, made[1].time, "", 100)
    assert between == (expected[2:4], "")
    assert await log.page("other", None, NOW, "", 100) == ([], "")


async def test_a_list_reads_no_more_days_than_asked_for() -> None:
    store = MemoryDecisions([])
    log = Decisions(store)
    await log.page("acme", None, NOW, "", 10)
    assert (store.days[0], store.days[-1], len(store.days)) == (NOW.date(), (NOW - timedelta(days=7)).date(), 8)
    with pytest.raises(IntervalTooLong):
        await log.page("acme", NOW - timedelta(days=32), NOW, "", 10)
    for forged in ("x", "9999-12-31T00:00:00+00:00/x", "2026-02-01T00:00:00/x", "0001-01-01T00:00:00+23:00/x"):
        with pytest.raises(PageTokenInvalid):
            await log.page("acme", None, NOW, forged, 10)
    assert len(store.days) == 8
    assert Place.parse(str(Place(NOW, "id"))) == Place(datetime(2026, 1, 1, 12, tzinfo=UTC), "id")
