"""Who may call what: the gateway's word for a person, held against the contract, over a real server with mutual TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from refusals import refusal

from reelmesh.catalog.v1 import video_service_pb2 as pb
from reelmesh.catalog.v1.video_service_pb2_grpc import (
    VideoServiceServicer,
    VideoServiceStub,
    add_VideoServiceServicer_to_server,
)
from reelmesh.identity.v1 import account_service_pb2 as account_pb
from reelmesh.identity.v1.account_service_pb2_grpc import (
    AccountServiceServicer,
    AccountServiceStub,
    add_AccountServiceServicer_to_server,
)
from reelmesh.ingest.v1 import upload_service_pb2 as upload_pb
from reelmesh.ingest.v1.upload_service_pb2_grpc import (
    UploadServiceServicer,
    UploadServiceStub,
    add_UploadServiceServicer_to_server,
)
from reelmesh.mesh import person
from reelmesh.mesh.channel import channel
from reelmesh.mesh.identity import Identity
from reelmesh.mesh.people import person_of, scope_of
from reelmesh.mesh.person import HEADER, Client, Role
from reelmesh.mesh.server import Server, Service, Target
from reelmesh_tools.stack import certificates

refused = refusal

ID = "01920000-0000-7000-8000-000000000000"
ACME = "organizations/acme"
UPLOAD = f"{ACME}/uploads/{ID}"
USER = f"users/{ID}"
EDITOR = {"organizations": {"acme": "editor"}}


class Seen:
    """What the servicers saw of who calls."""

    person: person.Person | None = None
    client: Client | None = None

    def look(self) -> None:
        self.person, self.client = person.current(), person.client()


class Videos(VideoServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def CreateVideo(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        self.seen.look()
        return pb.CreateVideoResponse()

    async def GetVideo(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.seen.look()
        return pb.GetVideoResponse()


class Accounts(AccountServiceServicer):
    async def GetUser(self, request: Any, context: Any) -> Any:  # noqa: N802
        return account_pb.GetUserResponse()


class Uploads(UploadServiceServicer):
    async def WriteUpload(self, messages: AsyncIterator[Any], context: Any) -> Any:  # noqa: N802
        async for _ in messages:
            pass
        return upload_pb.WriteUploadResponse()


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = Seen()
        self.port = 0

    @contextlib.asynccontextmanager
    async def stub(self, kind: Any = VideoServiceStub, caller: str = "gateway") -> AsyncIterator[Any]:
        identity = Identity.load(self.folder, caller, "reelmesh.local")
        async with channel("catalog", {"catalog": (f"127.0.0.1:{self.port}",)}, identity, None) as opened:
            yield kind(opened)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("certificates")
    certificates.ensure(made, datetime.now(UTC))
    return made


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    videos, accounts, uploads = Videos(world.seen), Accounts(), Uploads()  # type: ignore[abstract]  # a few rpcs each
    services = [
        Service("reelmesh.catalog.v1.VideoService", lambda s: add_VideoServiceServicer_to_server(videos, s)),
        Service("reelmesh.identity.v1.AccountService", lambda s: add_AccountServiceServicer_to_server(accounts, s)),
        Service("reelmesh.ingest.v1.UploadService", lambda s: add_UploadServiceServicer_to_server(uploads, s)),
    ]
    server = Server(Target("catalog", services), Identity.load(folder, "catalog", "reelmesh.local"), "127.0.0.1:0")
    world.port = server.port
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready.set))
    await ready.wait()
    yield world
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def said(claims: dict[str, Any] | None = None, **more: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata with which the gateway says who calls."""
    everything = {"iss": "reelmesh", "sub": USER, **(claims or {})}
    header = base64.urlsafe_b64encode(json.dumps(everything).encode()).decode().rstrip("=")
    return ((HEADER, header), *more.items())


def new(parent: str = ACME) -> pb.CreateVideoRequest:
    request = pb.CreateVideoRequest(parent=parent)
    request.video.title = "One"
    return request


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(EDITOR, id="the least role"),
        pytest.param({"organizations": {"acme": "owner", "other": "viewer"}}, id="a higher role"),
        pytest.param({"operator": True}, id="an operator"),
        pytest.param({**EDITOR, "scope": "ingest.read catalog.write"}, id="with the scope"),
    ],
)
async def test_who_may_is_admitted(world: World, claims: dict[str, Any]) -> None:
    async with world.stub() as stub:
        await stub.CreateVideo(new(), metadata=said(claims))
    assert world.seen.person is not None
    assert world.seen.person.subject == USER


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({}, "ROLE_TOO_LOW", id="no member"),
        pytest.param({"organizations": {"acme": "viewer"}}, "ROLE_TOO_LOW", id="a lower role"),
        pytest.param({"organizations": {"other": "owner"}}, "ROLE_TOO_LOW", id="another organization's owner"),
        pytest.param({**EDITOR, "scope": "catalog.read"}, "SCOPE_MISSING", id="another scope"),
        pytest.param({**EDITOR, "scope": ""}, "SCOPE_MISSING", id="no scope"),
        pytest.param({"iss": "https://elsewhere", "operator": True}, "ROLE_TOO_LOW", id="another issuer's operator"),
    ],
)
async def test_who_may_not_is_refused(world: World, claims: dict[str, Any], reason: str) -> None:
    async with world.stub() as stub:
        assert await refused(stub.CreateVideo(new(), metadata=said(claims))) == (
            grpc.StatusCode.PERMISSION_DENIED,
            reason,
        )
    assert world.seen.person is None, "the servicer was not asked"


async def test_who_did_not_sign_in_may_only_what_is_for_everyone(world: World) -> None:
    async with world.stub() as stub:
        assert await refused(stub.CreateVideo(new())) == (grpc.StatusCode.UNAUTHENTICATED, "SIGN_IN_REQUIRED")
        await stub.GetVideo(pb.GetVideoRequest(name=f"{ACME}/videos/{ID}"))
    assert world.seen.person is None


@pytest.mark.parametrize("header", ["?", "e30", base64.urlsafe_b64encode(b'{"iss": "reelmesh"}').decode(), "bm8"])
async def test_what_says_nobody_is_refused(world: World, header: str) -> None:
    async with world.stub() as stub:
        refusal = await refused(stub.CreateVideo(new(), metadata=((HEADER, header),)))
    assert refusal == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_a_service_cannot_speak_for_a_person(world: World) -> None:
    async with world.stub(caller="playback") as stub:
        await stub.GetVideo(pb.GetVideoRequest(name=f"{ACME}/videos/{ID}"), metadata=said({"operator": True}))
        assert world.seen.person is None
        refusal = await refused(stub.CreateVideo(new(), metadata=said(EDITOR)))
    assert refusal == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize("name", ["", "nonsense", "videos/acme", "organizations/", "organizations/../acme"])
async def test_a_request_about_nothing_is_wrong(world: World, name: str) -> None:
    async with world.stub() as stub:
        refusal = await refused(stub.CreateVideo(new(name), metadata=said({"operator": True})))
    assert refusal == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_users_are_their_own(world: World) -> None:
    other = f"users/{ID.replace('0192', '0193')}"
    async with world.stub(AccountServiceStub) as stub:
        await stub.GetUser(account_pb.GetUserRequest(name=USER), metadata=said())
        await stub.GetUser(account_pb.GetUserRequest(name=other), metadata=said({"operator": True}))
        refusal = await refused(stub.GetUser(account_pb.GetUserRequest(name=other), metadata=said(EDITOR)))
    assert refusal == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_TOO_LOW")


async def test_every_message_of_a_stream_is_looked_at(world: World) -> None:
    def messages(*names: str) -> AsyncIterator[Any]:
        async def each() -> AsyncIterator[Any]:
            for place, name in enumerate(names):
                yield upload_pb.WriteUploadRequest(name=name, offset=place, data=b"x")

        return each()

    async with world.stub(UploadServiceStub) as stub:
        await stub.WriteUpload(messages(UPLOAD, "", UPLOAD, ""), metadata=said(EDITOR))
        smuggled = messages(UPLOAD, UPLOAD.replace("acme", "other"))
        assert (await refused(stub.WriteUpload(smuggled, metadata=said(EDITOR))))[1] == "ROLE_TOO_LOW"
        nameless = messages("", UPLOAD)
        assert (await refused(stub.WriteUpload(nameless, metadata=said(EDITOR))))[1] == "INVALID_REQUEST"


async def test_the_client_is_who_the_gateway_saw(world: World) -> None:
    async with world.stub() as stub:
        metadata = said(EDITOR, **{"x-forwarded-for": "6.6.6.6, 203.0.113.9"})
        await stub.CreateVideo(new(), metadata=metadata)
    assert world.seen.client is not None
    assert world.seen.client.address == "203.0.113.9", "what the client claims to be comes before it"


def test_another_issuers_users_are_told_apart() -> None:
    def of(issuer: str, subject: str) -> person.Person:
        claims = {"iss": issuer, "sub": subject, **EDITOR}
        found = person_of(base64.urlsafe_b64encode(json.dumps(claims).encode()).decode())
        assert found is not None
        return found

    one = of("https://one", "7")
    assert one == of("https://one", "7")
    assert one.roles == {"acme": Role.EDITOR}
    assert one.subject.startswith("users/")
    assert len({one.subject, of("https://one", "8").subject, of("https://two", "7").subject}) == 3
    assert of("https://one", USER).subject != USER, "it cannot name one of ours"


def test_scopes_follow_from_the_contract() -> None:
    assert scope_of("/reelmesh.catalog.v1.VideoService/GetVideo") == "catalog.read"
    assert scope_of("/reelmesh.ingest.v1.UploadService/CreateUpload") == "ingest.write"
