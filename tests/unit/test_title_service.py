from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import grpc
import pytest
from catalog_fakes import CountingIds, TickingClock
from google.protobuf.field_mask_pb2 import FieldMask
from refusals import refusal
from title_fakes import MemoryTitleStore, Notebook, film

from reelmesh.catalog.title_service import TitleService
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1 import title_service_pb2 as pb
from reelmesh.catalog.v1.title_pb2 import Availability, Localization, Title
from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceStub, add_TitleServiceServicer_to_server
from reelmesh.mesh.interceptors import Errors, Validation
from reelmesh.mesh.names import TitleName, VideoName

if TYPE_CHECKING:  # the generated stubs have the type, the generated code does not
    from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceAsyncStub

refused = partial(refusal, domain="reelmesh.catalog")

ACME = "organizations/acme"
NOBODY = f"{ACME}/titles/018f0000-0000-7000-8000-00000000ffff"
VIDEO = f"{ACME}/videos/018f0000-0000-7000-8000-000000000001"
EN = [Localization(language="en", title="One")]


async def has_video(name: VideoName) -> bool:
    return str(name) == VIDEO


@pytest.fixture
async def stub() -> AsyncIterator[TitleServiceAsyncStub]:
    server = grpc.aio.server(interceptors=[Errors(), Validation(b"key")])
    titles = Titles(MemoryTitleStore(), has_video, Notebook(), TickingClock(), CountingIds())
    add_TitleServiceServicer_to_server(TitleService(titles), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield TitleServiceStub(channel)
    await server.stop(0)


async def create(stub: TitleServiceAsyncStub, title: Title, request_id: str = "") -> Title:
    return (await stub.CreateTitle(pb.CreateTitleRequest(parent=ACME, title=title, request_id=request_id))).title


async def update(stub: TitleServiceAsyncStub, title: Title, *paths: str) -> Title:
    return (await stub.UpdateTitle(pb.UpdateTitleRequest(title=title, update_mask=FieldMask(paths=paths)))).title


INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("title", "refusal"),
    [
        (Title(kind=Title.KIND_FILM), (INVALID, "TITLE_INVALID")),
        (Title(localizations=EN), (INVALID, "TITLE_INVALID")),
        (film(genres=["a", "a"]), (INVALID, "INVALID_REQUEST")),
        (film(original_language="not a language"), (INVALID, "INVALID_REQUEST")),
        (film(availabilities=[Availability(territories=["de"])]), (INVALID, "INVALID_REQUEST")),
        (film(number=3), (INVALID, "TITLE_INVALID")),
        (film(video=VIDEO.replace("1", "2")), (PRECONDITION, "VIDEO_UNKNOWN")),
        (
            Title(kind=Title.KIND_SEASON, parent_title=NOBODY, localizations=EN),
            (PRECONDITION, "PARENT_UNKNOWN"),
        ),
        (Title(kind=Title.KIND_COLLECTION, members=[NOBODY], localizations=EN), (PRECONDITION, "MEMBER_UNKNOWN")),
    ],
)
async def test_what_is_wrong_is_refused_before_anything_is_made(
    stub: TitleServiceAsyncStub, title: Title, refusal: tuple[grpc.StatusCode, str]
) -> None:
    assert await refused(create(stub, title)) == refusal
    assert not (await stub.ListTitles(pb.ListTitlesRequest(parent=ACME))).titles


async def test_an_update_changes_what_its_mask_names(stub: TitleServiceAsyncStub) -> None:
    made = await create(stub, film(genres=["drama"], tags=["old"]))
    changed = await update(stub, Title(name=made.name, tags=["new"], genres=["noir"]), "tags")
    assert (list(changed.tags), list(changed.genres), changed.revision) == (["new"], ["drama"], 2)
    emptied = await update(stub, Title(name=made.name), "genres")
    assert not emptied.genres
    same = await update(stub, Title(name=made.name), "genres")
    assert same.revision == 3
    whole = await update(stub, Title(name=made.name, localizations=EN), "*")
    assert not whole.tags


@pytest.mark.parametrize(
    "path", ["name", "kind", "revision", "external_id", "parent_title", "localizations.title", "x"]
)
async def test_what_cannot_be_written(stub: TitleServiceAsyncStub, path: str) -> None:
    made = await create(stub, film())
    assert await refused(update(stub, Title(name=made.name, localizations=EN), path)) == (
        INVALID,
        "FIELD_NOT_WRITABLE",
    )


async def test_an_etag_guards_a_change(stub: TitleServiceAsyncStub) -> None:
    made = await create(stub, film())
    await update(stub, Title(name=made.name, tags=["a"]))
    assert await refused(update(stub, Title(name=made.name, etag=made.etag, tags=["b"]))) == (
        grpc.StatusCode.ABORTED,
        "ETAG_MISMATCH",
    )


async def test_edits_of_many_are_each_by_itself(stub: TitleServiceAsyncStub) -> None:
    one, two = await create(stub, film(genres=["drama"])), await create(stub, film(genres=["noir"]))
    edit = pb.TitleEdit(add_genres=["noir"], state=Title.STATE_PUBLISHED)
    request = pb.BulkEditTitlesRequest(parent=ACME, names=[one.name, NOBODY, two.name], edit=edit, dry_run=True)
    for dry_run in (True, False):
        request.dry_run = dry_run
        outcomes = (await stub.BulkEditTitles(request)).outcomes
        assert [(each.changed, each.reason) for each in outcomes] == [(True, ""), (False, "TITLE_UNKNOWN"), (True, "")]
    now = (await stub.GetTitle(pb.GetTitleRequest(name=one.name))).title
    assert (list(now.genres), now.state, now.revision) == (["drama", "noir"], Title.STATE_PUBLISHED, 2)
    again = (await stub.BulkEditTitles(request)).outcomes
    assert [each.changed for each in again] == [False, False, False]
    request.edit.Clear()
    assert await refused(stub.BulkEditTitles(request)) == (INVALID, "EDIT_EMPTY")


async def test_revisions_are_listed_and_restored(stub: TitleServiceAsyncStub) -> None:
    made = await create(stub, film("First"))
    for words in ("Second", "Third"):
        await update(stub, Title(name=made.name, localizations=[Localization(language="en", title=words)]))
    listed = await stub.ListTitleRevisions(pb.ListTitleRevisionsRequest(name=made.name, page_size=2))
    assert [each.title.revision for each in listed.revisions] == [3, 2]
    rest = await stub.ListTitleRevisions(
        pb.ListTitleRevisionsRequest(name=made.name, page_size=2, page_token=listed.next_page_token)
    )
    assert [each.title.revision for each in rest.revisions] == [1]
    assert rest.next_page_token == ""
    restored = (await stub.RestoreTitle(pb.RestoreTitleRequest(name=made.name, revision=1))).title
    assert (restored.localizations[0].title, restored.revision) == ("First", 4)
    assert await refused(stub.RestoreTitle(pb.RestoreTitleRequest(name=made.name, revision=9))) == (
        grpc.StatusCode.NOT_FOUND,
        "REVISION_UNKNOWN",
    )


async def test_a_request_id_makes_one_title(stub: TitleServiceAsyncStub) -> None:
    request_id = str(uuid.uuid4())
    made = await create(stub, film(), request_id)
    assert await create(stub, film(), request_id) == made
    await stub.DeleteTitle(pb.DeleteTitleRequest(name=made.name))
    assert await refused(create(stub, film(), request_id)) == (grpc.StatusCode.NOT_FOUND, "TITLE_UNKNOWN")


async def test_a_deleted_title_can_be_made_anew_under_its_external_id(stub: TitleServiceAsyncStub) -> None:
    made = await create(stub, film(external_id="a"))
    assert await refused(create(stub, film(external_id="a"))) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "EXTERNAL_ID_TAKEN",
    )
    await stub.DeleteTitle(pb.DeleteTitleRequest(name=made.name))
    anew = await create(stub, film(external_id="a"))
    assert (anew.name, anew.revision) == (made.name, 3)


@pytest.mark.parametrize("token", ["x", "W10", "WzEsICJhIiwgImIiXQ", "WzEsIDFlOTk5LCAiYiJd"])
async def test_tokens_of_others_are_refused(stub: TitleServiceAsyncStub, token: str) -> None:
    assert await refused(stub.ListTitles(pb.ListTitlesRequest(parent=ACME, page_token=token))) == (
        INVALID,
        "PAGE_TOKEN_INVALID",
    )


async def test_pages_hold_every_title_once(stub: TitleServiceAsyncStub) -> None:
    made = {(await create(stub, film(str(number)))).name for number in range(7)}
    seen: list[str] = []
    token = ""
    for _ in range(4):
        page = await stub.ListTitles(pb.ListTitlesRequest(parent=ACME, page_size=2, page_token=token))
        seen += [title.name for title in page.titles]
        token = page.next_page_token
    assert token == ""
    assert len(seen) == 7
    assert set(seen) == made


async def test_a_title_loses_a_video_that_is_gone() -> None:
    titles = Titles(MemoryTitleStore(), has_video, Notebook(), TickingClock(), CountingIds())
    made = await titles.create("acme", film(video=VIDEO), "", "users/1")
    for _ in range(2):
        await titles.lose(VideoName.parse(VIDEO))
    now = await titles.get(TitleName.parse(made.name))
    assert (now.video, now.revision) == ("", 2)
    await titles.lose(VideoName.parse(VIDEO.replace("1", "2")))
