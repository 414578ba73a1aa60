"""A gateway to test: certificates, mTLS gRPC servers with fake services, an origin, and a real Envoy before them."""

# ruff: noqa: N802 -- rpc methods carry the contract's names

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.api import httpbody_pb2
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from ports import free_port

from reelmesh.catalog.v1 import video_pb2, video_service_pb2, video_service_pb2_grpc
from reelmesh.ingest.v1 import upload_pb2, upload_service_pb2, upload_service_pb2_grpc
from reelmesh.mesh.keys import KeyRing
from reelmesh.playback.v1 import manifest_service_pb2, manifest_service_pb2_grpc
from reelmesh.transcode.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, task_service_pb2_grpc
from reelmesh_gateway.guard import KeyFiles
from reelmesh_gateway.validate import envoy_binary
from reelmesh_gateway.write import write

ROOT = Path(__file__).parents[2]
VIDEO = "organizations/default/videos/00000000-0000-7000-8000-000000000001"
UPLOAD = "organizations/default/uploads/00000000-0000-7000-8000-000000000002"
PLAYLIST = b"#EXTM3U\n"


class Certificates:
    """An authority, and certificates for the gateway and for services, in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self._write("ca", self._key, self._sign(self._key, self._name, None))
        self.issue("gateway")

    def issue(self, service: str, file: str = "") -> None:
        """Write `file`.pem and `file`.key with the SPIFFE id of `service`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service)])
        self._write(file or service, key, self._sign(key, name, service))

    def server(self, file: str) -> grpc.ServerCredentials:
        """Return credentials of a server that demands a client certificate."""
        pair = ((self.folder / f"{file}.key").read_bytes(), (self.folder / f"{file}.pem").read_bytes())
        return grpc.ssl_server_credentials([pair], (self.folder / "ca.pem").read_bytes(), require_client_auth=True)

    def _sign(self, key: ec.EllipticCurvePrivateKey, name: x509.Name, service: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=service is None, path_length=None), critical=True)
        )
        if service is not None:
            names: list[x509.GeneralName] = [
                x509.UniformResourceIdentifier(f"spiffe://reelmesh.local/{service}"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{name}.key").write_bytes(private)


class FakeUploads(upload_service_pb2_grpc.UploadServiceServicer):
    """Keeps what PutUpload received, without the bytes."""

    def __init__(self) -> None:
        self.messages: list[upload_service_pb2.PutUploadRequest] = []
        self.sizes: list[int] = []

    async def GetUpload(self, request: Any, context: Any) -> upload_service_pb2.GetUploadResponse:
        return upload_service_pb2.GetUploadResponse(upload=upload_pb2.Upload(name=request.name))

    async def PutUpload(self, request_iterator: Any, context: Any) -> upload_service_pb2.PutUploadResponse:
        self.messages, self.sizes = [], []
        async for message in request_iterator:
            self.sizes.append(len(message.body.data))
            message.body.data = message.body.data[:4]
            self.messages.append(message)
        upload = upload_pb2.Upload(name=self.messages[0].name, persisted_size=sum(self.sizes))
        return upload_service_pb2.PutUploadResponse(upload=upload)


class FakeCatalog(video_service_pb2_grpc.VideoServiceServicer):
    """Has one video; fails as told."""

    def __init__(self, title: str = "One") -> None:
        self.title = title
        self.failures = 0
        self.calls = 0
        self.metadata: dict[str, Any] = {}

    async def GetVideo(self, request: Any, context: Any) -> video_service_pb2.GetVideoResponse:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        if self.failures > 0:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if request.name != VIDEO:
            await context.abort_with_status(rpc_status.to_status(video_unknown()))
        return video_service_pb2.GetVideoResponse(video=video_pb2.Video(name=VIDEO, title=self.title))

    async def CreateVideo(self, request: Any, context: Any) -> video_service_pb2.CreateVideoResponse:
        self.calls += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        raise AssertionError


class FakeManifests(manifest_service_pb2_grpc.ManifestServiceServicer):
    """Serves a playlist with headers."""

    async def GetHlsMultivariantPlaylist(self, request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("cache-control", "public, max-age=1"), ("etag", '"7"')))
        body = httpbody_pb2.HttpBody(content_type="application/vnd.apple.mpegurl", data=PLAYLIST)
        return manifest_service_pb2.GetHlsMultivariantPlaylistResponse(body=body)


class FakeJobs(job_service_pb2_grpc.JobServiceServicer):
    """A job that passes through three revisions."""

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        for revision in (1, 2, 3):
            yield job_service_pb2.WatchJobResponse(job=job_pb2.Job(name=request.name, revision=revision))
            await asyncio.sleep(0.05)


def fake(kind: Any, *arguments: Any) -> Any:
    """Make a fake that leaves most of its contract out."""
    return kind(*arguments)


def video_unknown() -> status_pb2.Status:
    """The error that a service answers with."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="VIDEO_UNKNOWN", domain="reelmesh.catalog"))
    return status_pb2.Status(code=code_pb2.NOT_FOUND, message="no such video", details=[detail])


async def serve(stack: contextlib.AsyncExitStack, credentials: grpc.ServerCredentials, *services: Any) -> str:
    """Serve fakes with health on a free port until `stack` closes; return the address."""
    server = grpc.aio.server()
    checks = health.aio.HealthServicer()
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    adders: dict[type, Any] = {
        FakeUploads: upload_service_pb2_grpc.add_UploadServiceServicer_to_server,
        FakeCatalog: video_service_pb2_grpc.add_VideoServiceServicer_to_server,
        FakeManifests: manifest_service_pb2_grpc.add_ManifestServiceServicer_to_server,
        FakeJobs: job_service_pb2_grpc.add_JobServiceServicer_to_server,
    }
    for service in services:
        adders[type(service)](service, server)
        if isinstance(service, FakeJobs):
            tasks = fake(task_service_pb2_grpc.TaskServiceServicer)
            task_service_pb2_grpc.add_TaskServiceServicer_to_server(tasks, server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    stack.push_async_callback(server.stop, 0)
    return f"127.0.0.1:{port}"


async def serve_origin(stack: contextlib.AsyncExitStack, body: bytes | None = None) -> str:
    """Serve a plain HTTP origin that answers with `body`, or with the request's first line; return the address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line = head.split(b"\r\n", 1)[0] if body is None else body
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(line), line))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    stack.callback(server.close)
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class World:
    """Envoy and what stands behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.admin_port = free_port()
        self.certificates = Certificates(folder / "certificates")
        self.addresses: dict[str, list[str]] = {}
        self.uploads = fake(FakeUploads)
        self.catalog = fake(FakeCatalog)
        self.keys = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
        (folder / "jwks.json").write_text(json.dumps(self.keys.jwks()))
        self.people_keys = KeyRing({"p": ec.generate_private_key(ec.SECP256R1())})
        (folder / "people.json").write_text(json.dumps(self.people_keys.jwks()))
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"

    def token(
        self, prefix: str | None = "/media/", *, seconds: float = 60, keys: KeyRing | None = None, **claims: Any
    ) -> str:
        """Return a media token as playback signs them, good for so many seconds."""
        expire = int(datetime.datetime.now(datetime.UTC).timestamp() + seconds)
        common = {"iss": "reelmesh.playback", "aud": "media", "sub": "a viewing", "exp": expire, "prefix": prefix}
        signed = {name: value for name, value in {**common, **claims}.items() if value is not None}
        return (keys or self.keys).sign(signed)

    def person(self, *, seconds: float = 60, keys: KeyRing | None = None, **claims: Any) -> dict[str, str]:
        """Return the header with a person's token as identity signs them, good for so many seconds."""
        expire = int(datetime.datetime.now(datetime.UTC).timestamp() + seconds)
        signed = {"iss": "reelmesh", "aud": "reelmesh", "sub": "users/1", "exp": expire, **claims}
        return {"authorization": f"Bearer {(keys or self.people_keys).sign(signed)}"}

    def write(self, **gateway: Any) -> Path:
        """Write the configuration for the present addresses, with some settings of the gateway changed."""
        mesh = yaml.safe_load((ROOT / "gateway" / "mesh.yaml").read_text())
        mesh["gateway"] |= gateway
        (self.folder / "mesh.yaml").write_text(yaml.safe_dump(mesh))
        return write(
            self.folder / "mesh.yaml",
            self.folder / "envoy",
            gateway_port=self.port,
            admin_port=self.admin_port,
            addresses=self.addresses,
            certificates=self.certificates.folder,
            keys=KeyFiles(self.folder / "jwks.json", self.folder / "people.json"),
            descriptor_set=ROOT / "envoy" / "reelmesh.binpb",
        )

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        """Start everything; it ends with `stack`."""
        fakes = {
            "ingest": self.uploads,
            "catalog": self.catalog,
            "playback": fake(FakeManifests),
            "transcode": fake(FakeJobs),
        }
        for name, service in fakes.items():
            self.certificates.issue(name)
            self.addresses[name] = [await serve(stack, self.certificates.server(name), service)]
        self.addresses["origin"] = [await serve_origin(stack)]
        log = stack.enter_context((self.folder / "access.log").open("wb"))
        errors = stack.enter_context((self.folder / "envoy.log").open("wb"))
        options = [
            "--reject-unknown-dynamic-fields",
            "--use-dynamic-base-id",
            "--log-level",
            "info",
            "--file-flush-interval-msec",
            "200",
        ]
        envoy = await asyncio.create_subprocess_exec(
            envoy_binary(), "-c", self.write(), *options, "--concurrency", "2", stdout=log, stderr=errors
        )
        stack.push_async_callback(_end, envoy)
        await self.until(lambda stats: all(stats.get(f"cluster.{name}.membership_healthy") == 1 for name in fakes))

    async def stats(self) -> dict[str, int]:
        """Return Envoy's counters and gauges."""
        async with httpx.AsyncClient() as client:
            stats = (await client.get(f"{self.admin}/stats?format=json")).json()["stats"]
        return {stat["name"]: stat["value"] for stat in stats if "value" in stat}

    async def until(self, true: Callable[[dict[str, int]], bool]) -> None:
        """Wait until Envoy is ready and its stats satisfy `true`."""

        async def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                stats = await self.stats()
                return bool(stats.get("listener_manager.workers_started")) and true(stats)
            return False

        await eventually(ready)


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes; fail after 20 seconds."""
    async with asyncio.timeout(20):
        while not await true():  # noqa: ASYNC110, what is asked is another process
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()
