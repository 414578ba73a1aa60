from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import pytest
from catalog_fakes import CountingIds, TickingClock
from title_fakes import ORGANIZATION, MemoryTitleStore, Notebook, Topic, film

from reelmesh.catalog import title_announcing
from reelmesh.catalog.title_announcing import GRACE, Announcing
from reelmesh.catalog.title_model import Change, Held
from reelmesh.catalog.titles import Titles
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import TitleName, VideoName


async def there(video: VideoName) -> bool:
    return True


def world(topic: Topic) -> tuple[Titles, Announcing, MemoryTitleStore, TickingClock]:
    store, clock, ids = MemoryTitleStore(), TickingClock(), CountingIds()
    announcing = Announcing(store, topic, clock, ids)
    return Titles(store, there, announcing, clock, ids), announcing, store, clock


async def run_until_said(announcing: Announcing, store: MemoryTitleStore) -> None:
    """Announce until the notes that there are now have been forgotten."""
    notes, said, forget = set(store.notes), asyncio.Event(), store.forget

    async def forgetting(*changes: Change) -> None:
        await forget(*changes)
        if not notes & set(store.notes):
            said.set()

    store.forget = forgetting  # type: ignore[method-assign] # watched
    running = asyncio.create_task(announcing.run())
    async with asyncio.timeout(5):
        await said.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_change_that_overtakes_is_told_last() -> None:
    class Overtaken(Topic):
        """While the first revision is under way, another process writes and publishes the second."""

        async def publish(self, titles: Iterable[tuple[str, Held]]) -> None:
            told = list(titles)
            if told[0][1].revision == 1:
                other = Titles(store, there, Notebook(), clock, CountingIds())
                name = TitleName.parse(told[0][1].title.name)
                await other.update(name, film("Another"), [], "", "users/other")
                held = await store.load(name)
                assert held is not None
                self.records.append(held)
            await super().publish(told)

    topic = Overtaken()
    titles, announcing, store, clock = world(topic)
    await titles.create(ORGANIZATION, film(), "", "")
    await run_until_said(announcing, store)
    assert [held.revision for held in topic.records] == [2, 1, 2]


async def test_changes_wait_for_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(title_announcing, "RETRY", timedelta(0))
    topic = Topic()
    topic.faults = 2
    titles, announcing, store, _ = world(topic)
    made = await titles.create(ORGANIZATION, film(), "", "")
    await run_until_said(announcing, store)
    assert [held.title for held in topic.records] == [made]


async def test_a_batch_tells_the_last_of_a_title() -> None:
    topic = Topic()
    titles, announcing, store, _ = world(topic)
    made = await titles.create(ORGANIZATION, film(), "", "")
    changed = await titles.update(TitleName.parse(made.name), film("Other"), [], "", "")
    await run_until_said(announcing, store)
    assert [held.title for held in topic.records] == [changed]


async def test_the_sweep_leaves_who_is_still_at_it() -> None:
    topic = Topic()
    store, clock, ids = MemoryTitleStore(), TickingClock(), CountingIds()
    made = await Titles(store, there, Notebook(), clock, ids).create(ORGANIZATION, film(), "", "")
    sweep = Announcing(store, topic, clock, ids)
    await sweep.sweep()
    assert topic.records == []
    assert len(store.notes) == 1
    clock.time += GRACE + timedelta(minutes=1)
    await sweep.sweep()
    assert [held.title for held in topic.records] == [made]
    assert store.notes == {}


async def test_lists_that_could_not_be_written_are_written_by_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, said = Topic(), Notebook()
    store, clock, ids = MemoryTitleStore(), TickingClock(), CountingIds()

    async def away(held: Held) -> None:
        raise Unavailable("Cassandra does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(store, "index", away)
        with pytest.raises(Unavailable):
            await Titles(store, there, said, clock, ids).create(ORGANIZATION, film(), "", "")
    assert said.said == []  # or its note would go
    clock.time += GRACE + timedelta(minutes=1)
    await Announcing(store, topic, clock, ids).sweep()
    assert list(store.indexed.values()) == topic.records
    assert len(topic.records) == 1
    assert store.notes == {}


async def test_the_sweep_forgets_what_never_was() -> None:
    topic = Topic()
    store, clock, ids = MemoryTitleStore(), TickingClock(), CountingIds()
    await Titles(store, there, Notebook(), clock, ids).create(ORGANIZATION, film(), "", "")
    store.revisions_of.clear()
    clock.time += GRACE + timedelta(minutes=1)
    await Announcing(store, topic, clock, ids).sweep()
    assert topic.records == []
    assert store.notes == {}


async def test_a_deletion_is_told() -> None:
    topic = Topic()
    titles, announcing, store, _ = world(topic)
    made = await titles.create(ORGANIZATION, film(), "", "")
    await titles.delete(TitleName.parse(made.name), "", "", allow_missing=False)
    await run_until_said(announcing, store)
    assert [(held.title.name, held.deleted) for held in topic.records] == [(made.name, True)]
