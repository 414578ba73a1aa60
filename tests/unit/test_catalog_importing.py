"""Libraries in and out: rows side by side, answered in order, and a dry run that says what the real one does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import grpc
import protovalidate
import pytest
from catalog_fakes import CountingIds, TickingClock
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from title_fakes import MemoryTitleStore, Notebook, film

from reelmesh.catalog.exporting import Export, ordered
from reelmesh.catalog.importing import AT_ONCE, Import, Outcome, Settings
from reelmesh.catalog.library_service import LibraryService
from reelmesh.catalog.rowcodecs.json_rows import JsonRows
from reelmesh.catalog.rowcodecs.model import Row, RowFormat
from reelmesh.catalog.title_model import Held, imported_name
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1 import library_service_pb2 as pb
from reelmesh.catalog.v1.library_service_pb2_grpc import LibraryServiceStub, add_LibraryServiceServicer_to_server
from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.interceptors import Errors, Validation, validate
from reelmesh.mesh.names import TitleName, VideoName
from reelmesh_tools.library.generator import titles as generated

if TYPE_CHECKING:  # the generated stubs have the type, the generated code does not
    from reelmesh.catalog.v1.library_service_pb2_grpc import LibraryServiceAsyncStub

ACME = "acme"
EN = [Localization(language="en", title="One")]
VIDEOS = [f"organizations/acme/videos/018f0000-0000-7000-8000-00000000000{number}" for number in range(4)]
RULES = protovalidate.Validator()


class SlowStore(MemoryTitleStore):
    """Answers after a while, now sooner, now later; counts what goes on at once."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self.now = self.most = self.loads = 0
        self.away = False

    async def load(self, name: TitleName) -> Held | None:
        self.loads += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(self._chance.randint(0, 6)):
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        if self.away:
            raise Unavailable("Cassandra does not answer")
        return await super().load(name)


async def has_video(name: VideoName) -> bool:
    return str(name) in VIDEOS


def catalog(store: MemoryTitleStore) -> Titles:
    return Titles(store, has_video, Notebook(), TickingClock(), CountingIds())


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(0)


def importing(store: MemoryTitleStore, row_format: RowFormat, organization: str, *, dry_run: bool) -> Import:
    settings = Settings(organization, row_format, "users/editor", dry_run=dry_run)
    return Import(catalog(store), lambda title: validate(RULES, title), settings)


async def take(
    store: MemoryTitleStore,
    data: bytes,
    *,
    dry_run: bool = False,
    row_format: RowFormat = RowFormat.JSON,
    organization: str = ACME,
    size: int = 1000,
) -> list[Outcome]:
    run = importing(store, row_format, organization, dry_run=dry_run).run(pieces(data, size))
    return [outcome async for outcome in run]


async def export(store: MemoryTitleStore, row_format: RowFormat, organization: str = ACME) -> bytes:
    return b"".join([part async for part in Export(catalog(store), organization, row_format).run()])


def lines(*rows: Row | Title) -> bytes:
    return b"".join(JsonRows().encode(row if isinstance(row, Row) else Row(row)) for row in rows)


def effects(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.effect.value if outcome.effect else outcome.reason for outcome in outcomes]


def part(kind: Title.Kind.ValueType, external_id: str, parent: str) -> Row:
    return Row(Title(kind=kind, external_id=external_id, localizations=EN, number=1), parent_external_id=parent)


async def test_a_library_comes_in_and_comes_again() -> None:
    store = SlowStore()
    library = list(generated(600, 5, ACME))
    made = await take(store, lines(*library), size=50_000)
    assert [outcome.number for outcome in made] == list(range(1, 601))
    assert [outcome.external_id for outcome in made] == [title.external_id for title in library]
    assert set(effects(made)) == {"CREATED"}
    assert all(outcome.name == str(imported_name(ACME, outcome.external_id)) for outcome in made)
    assert 8 < store.most <= AT_ONCE
    assert set(effects(await take(store, lines(*library)))) == {"UNCHANGED"}
    library[7].genres.append("opera")
    again = await take(store, lines(*library))
    assert [outcome.number for outcome in again if outcome.effect and outcome.effect.value == "UPDATED"] == [8]


@pytest.mark.parametrize("row_format", RowFormat)
async def test_what_goes_out_comes_in_as_it_was(row_format: RowFormat) -> None:
    store, elsewhere = SlowStore(), SlowStore()
    await take(store, lines(*generated(400, 9, ACME)))
    data = await export(store, row_format)
    assert set(effects(await take(store, data, row_format=row_format))) == {"UNCHANGED"}
    moved = await take(elsewhere, data, row_format=row_format, organization="other")
    assert set(effects(moved)) == {"CREATED"}
    assert len(moved) == 400
    back = await export(elsewhere, row_format, "other")
    assert sorted(back.splitlines()) == sorted(data.splitlines())


async def test_parts_may_stand_behind_what_they_are_part_of() -> None:
    rows = [
        part(Title.KIND_EPISODE, "early", "season"),
        Row(Title(kind=Title.KIND_SERIES, external_id="series", localizations=EN)),
        part(Title.KIND_SEASON, "season", "series"),
        part(Title.KIND_EPISODE, "episode", "season"),
        part(Title.KIND_SEASON, "unfit", "episode"),
        Row(
            Title(kind=Title.KIND_COLLECTION, external_id="all", localizations=EN),
            member_external_ids=["series", "episode"],
        ),
        Row(Title(kind=Title.KIND_COLLECTION, external_id="none", localizations=EN), member_external_ids=["early"]),
    ]
    wanted = ["PARENT_UNKNOWN", "CREATED", "CREATED", "CREATED", "PARENT_UNFIT", "CREATED", "MEMBER_UNKNOWN"]
    store = SlowStore()
    dry = await take(store, lines(*rows), dry_run=True)
    assert effects(dry) == wanted
    assert not store.revisions_of
    assert not any(outcome.name for outcome in dry)
    real = await take(store, lines(*rows))
    assert effects(real) == wanted
    assert (real[0].field, real[6].field) == ("parentExternalId", "memberExternalIds")


async def test_a_dry_run_says_what_the_real_one_does() -> None:
    ids = [f"{number}" for number in range(12)]
    for seed in range(60):
        chance = random.Random(seed)  # noqa: S311 - no secret
        store = SlowStore(seed)
        for _ in range(3):
            data = lines(*(_any_row(chance, ids) for _ in range(25)))
            dry = await take(store, data, dry_run=True)
            real = await take(store, data, size=20_000)
            assert effects(dry) == effects(real), seed
            assert [(each.number, each.field, each.message) for each in dry] == [
                (each.number, each.field, each.message) for each in real
            ]


def _any_row(chance: random.Random, ids: Sequence[str]) -> Row:
    kind = Title.Kind.ValueType(chance.randint(1, 6))
    title = Title(kind=kind, external_id=chance.choice(ids), localizations=EN, genres=[chance.choice("abc")])
    if kind == Title.KIND_FILM and int(title.external_id) < 6:
        title.video = VIDEOS[int(title.external_id) % 3]
    members = chance.sample(ids, 2) if kind == Title.KIND_COLLECTION else ()
    parent = chance.choice(ids) if kind in {Title.KIND_SEASON, Title.KIND_EPISODE, Title.KIND_EXTRA} else ""
    return Row(title, parent, members)


async def test_a_video_may_go_from_one_title_to_another_in_one_file() -> None:
    store = SlowStore()
    one, other, third = (film(external_id=each) for each in "abc")
    one.video = VIDEOS[0]
    await take(store, lines(one))
    other.video = third.video = VIDEOS[0]
    rows = lines(film(external_id="a"), other, third)
    assert effects(await take(store, rows, dry_run=True)) == ["UPDATED", "CREATED", "VIDEO_TAKEN"]
    assert effects(await take(store, rows)) == ["UPDATED", "CREATED", "VIDEO_TAKEN"]


async def test_wrong_rows_are_answered_and_cost_the_others_nothing() -> None:
    made_here = await catalog(store := SlowStore()).create(ACME, film("Made here"), "", "users/editor")
    nobody = "organizations/acme/titles/018f0000-0000-7000-8000-00000000ffff"
    rows = [
        b'{"externalId":"a","kind":"KIND_FILM","localizations":[{"language":"en","title":"A"}]}',
        b"nothing",
        b'{"kind":"KIND_FILM","localizations":[{"language":"en","title":"A"}]}',
        b'{"externalId":"a","kind":"KIND_FILM"}',
        b'{"externalId":"b","kind":"KIND_FILM","localizations":[{"language":"en"}]}',
        b'{"externalId":"c","kind":"KIND_FILM","localizations":[]}',
        b'{"externalId":"d","kind":"KIND_FILM","localizations":[{"language":"en","title":"A"}],"members":["x"]}',
        b'{"externalId":"e","localizations":[{"language":"en","title":"A"}]}',
        b'{"externalId":"f","kind":"KIND_FILM","localizations":[{"language":"en","title":"A"}],"number":3}',
        b'{"name":"x","kind":"KIND_FILM","localizations":[{"language":"en","title":"A"}]}',
        f'{{"name":"{nobody}","kind":"KIND_FILM","localizations":[{{"language":"en","title":"A"}}]}}'.encode(),
        f'{{"name":"{nobody}","externalId":"g","kind":"KIND_FILM"}}'.encode(),
        f'{{"name":"{made_here.name}","kind":"KIND_FILM","localizations":[{{"language":"en","title":"B"}}]}}'.encode(),
        f'{{"name":"{made_here.name}","kind":"KIND_FILM","localizations":[{{"language":"en","title":"C"}}]}}'.encode(),
    ]
    wanted = [
        ("CREATED", ""),
        ("ROW_UNREADABLE", ""),
        ("EXTERNAL_ID_MISSING", "externalId"),
        ("EXTERNAL_ID_REPEATED", "externalId"),
        ("VALUE_INVALID", "localizations[0].title"),
        ("TITLE_INVALID", "localizations"),
        ("VALUE_INVALID", "members[0]"),
        ("TITLE_INVALID", "kind"),
        ("TITLE_INVALID", "number"),
        ("VALUE_INVALID", "name"),
        ("TITLE_UNKNOWN", "name"),
        ("VALUE_INVALID", "name"),
        ("UPDATED", ""),
        ("EXTERNAL_ID_REPEATED", "name"),
    ]
    for dry_run in (True, False):
        found = await take(store, b"\n".join(rows), dry_run=dry_run)
        assert list(zip(effects(found), (each.field for each in found), strict=True)) == wanted
        assert all(each.message for each in found if each.effect is None)
    changed = await take(
        store, b'{"externalId":"a","kind":"KIND_SERIES","localizations":[{"language":"en","title":"A"}]}'
    )
    assert (effects(changed), changed[0].field) == (["FIELD_NOT_WRITABLE"], "kind")


async def test_columns_are_named_where_a_cell_is_wrong() -> None:
    data = b"external_id,kind,title[en],title[de],genres,parent_external_id\n" + b"\n".join(
        [
            b"a,film," + b"x" * 501 + b",B,,",
            b"b,film,A," + b"x" * 501 + b",,",
            b"c,film,A,,drama;drama,",
            b"d,season,A,,,nobody",
            b"e,film,A,,,f",
            b"g,film,,,,",
        ]
    )
    found = await take(SlowStore(), data, row_format=RowFormat.CSV)
    assert list(zip(effects(found), (each.field for each in found), strict=True)) == [
        ("VALUE_INVALID", "title[en]"),
        ("VALUE_INVALID", "title[de]"),
        ("VALUE_INVALID", "genres"),
        ("PARENT_UNKNOWN", "parent_external_id"),
        ("TITLE_INVALID", "parent_external_id"),
        ("TITLE_INVALID", "title[…]"),
    ]


async def test_no_more_is_read_than_is_answered() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield lines(film(external_id=f"{read}"))

    run = importing(store := SlowStore(), RowFormat.JSON, ACME, dry_run=False).run(endless())
    for _ in range(5):
        await anext(run)
    for _ in range(2000):
        await asyncio.sleep(0)
    assert AT_ONCE <= read <= AT_ONCE + 10
    await run.aclose()
    made = len(store.revisions_of)
    for _ in range(500):
        await asyncio.sleep(0)
    assert (len(store.revisions_of), store.now) == (made, 0)
    assert len(asyncio.all_tasks()) == 1


async def test_a_store_that_is_away_ends_the_import() -> None:
    store = SlowStore()
    store.away = True
    with pytest.raises(Unavailable):
        await take(store, lines(*generated(200, 5, ACME)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


def test_collections_come_behind_those_that_they_hold() -> None:
    def holding(name: str, *members: str) -> Title:
        return Title(name=name, members=members)

    titles = [holding("a", "b", "film"), holding("b", "c"), holding("c", "d"), holding("d", "b"), holding("e", "e")]
    names = [title.name for title in ordered({title.name: title for title in titles})]
    assert sorted(names) == ["a", "b", "c", "d", "e"]
    assert names.index("c") < names.index("b") < names.index("a")


@pytest.fixture
async def stub() -> AsyncIterator[LibraryServiceAsyncStub]:
    server = grpc.aio.server(interceptors=[Errors(), Validation(b"key")])
    add_LibraryServiceServicer_to_server(LibraryService(catalog(SlowStore())), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield LibraryServiceStub(channel)
    await server.stop(0)


def settings(row_format: pb.RowFormat.ValueType = pb.ROW_FORMAT_JSON, **more: Any) -> pb.ImportTitlesRequest:
    wanted = pb.ImportTitlesRequest.Settings(parent="organizations/acme", format=row_format, **more)
    return pb.ImportTitlesRequest(settings=wanted)


async def reason(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    error: Any = caught.value
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def test_the_service_takes_rows_and_gives_them(stub: LibraryServiceAsyncStub) -> None:
    data = lines(*generated(30, 5, ACME)) + b"nothing\n"
    requests = [settings(), *(pb.ImportTitlesRequest(data=data[at : at + 777]) for at in range(0, len(data), 777))]
    answers = [answer async for answer in stub.ImportTitles(iter(requests))]
    assert [answer.row for answer in answers] == list(range(1, 32))
    assert answers[0].effect == pb.ImportTitlesResponse.EFFECT_CREATED
    last = answers[-1]
    assert (last.effect, last.reason) == (pb.ImportTitlesResponse.EFFECT_REFUSED, "ROW_UNREADABLE")
    wanted = pb.ExportTitlesRequest(parent="organizations/acme", format=pb.ROW_FORMAT_CSV)
    parts = [part.data async for part in stub.ExportTitles(wanted)]
    assert b"".join(parts).startswith(b"kind,external_id,")
    assert b"".join(parts).count(b"seed-5-0000") >= 30


async def test_the_service_refuses_what_is_no_import(stub: LibraryServiceAsyncStub) -> None:
    rows = pb.ImportTitlesRequest(data=b"{}\n")
    assert await reason(stub.ImportTitles(iter([]))) == "IMPORT_UNSTARTED"
    assert await reason(stub.ImportTitles(iter([rows]))) == "IMPORT_UNSTARTED"
    assert await reason(stub.ImportTitles(iter([settings(), rows, settings()]))) == "IMPORT_STARTED"
    header = pb.ImportTitlesRequest(data=b"kind,genre\n")
    assert await reason(stub.ImportTitles(iter([settings(pb.ROW_FORMAT_CSV), header]))) == "HEADER_INVALID"
    assert await reason(stub.ImportTitles(iter([settings(pb.ROW_FORMAT_UNSPECIFIED)]))) == "INVALID_REQUEST"
