"""What the contracts say of each rpc, read from the descriptor set: callers, side effects, streams, HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from google.api import annotations_pb2 as http_annotations
from google.api import http_pb2
from google.protobuf.descriptor_pb2 import (
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2

from reelmesh.annotations.v1 import annotations_pb2
from reelmesh.mesh.settings import SettingError
from reelmesh_gateway.mesh import Mesh

_VARIABLE = re.compile(r"\{([^}=]+)(?:=([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class HttpRule:
    """One HTTP request that an rpc answers to (google.api.http)."""

    verb: str
    """HTTP method."""
    template: str
    """Path template, such as ``/v1/{name=organizations/*/videos/*}``."""
    response_body: str
    """Field of the response that becomes the HTTP body; empty for the whole of it."""

    def regex(self) -> str:
        """Return the regular expression (RE2) that the paths of the template match as a whole."""
        pattern, end = "", 0
        for variable in _VARIABLE.finditer(self.template):
            pattern += re.escape(self.template[end : variable.start()]) + _segments(variable[2] or "*")
            end = variable.end()
        return pattern + re.escape(self.template[end:])


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc."""

    service: str
    """Full name of its gRPC service."""
    name: str
    """Name within the service."""
    client_streaming: bool
    """True where the client sends a stream."""
    server_streaming: bool
    """True where the server sends a stream."""
    no_side_effects: bool
    """True where the contract says NO_SIDE_EFFECTS, so that calling again is safe."""
    people: bool
    """True where a person or an API key may call, so that the gateway has a route for it."""
    anyone: bool
    """True where nobody needs to sign in."""
    callers: frozenset[str]
    """Services of the mesh that may call."""
    http: tuple[HttpRule, ...]
    """HTTP requests that it answers to."""

    @property
    def path(self) -> str:
        """The gRPC path, ``/{package}.{Service}/{Method}``."""
        return f"/{self.service}/{self.name}"

    @property
    def streaming(self) -> bool:
        """True where either side sends a stream."""
        return self.client_streaming or self.server_streaming


class Contracts:
    """Every gRPC service of a descriptor set, or those of a descriptor pool on demand."""

    def __init__(self, source: FileDescriptorSet | DescriptorPool) -> None:
        self._pool: DescriptorPool | None = None
        self._services: dict[str, ServiceDescriptorProto] = {}
        # Not isinstance(source, DescriptorPool): the native pool is no instance of that class.
        if isinstance(source, FileDescriptorSet):
            self._services.update(_services(source))
        else:
            self._pool = source

    @classmethod
    def read(cls, descriptor_set: Path) -> Contracts:
        """Read a serialized FileDescriptorSet, as ``buf build -o`` writes it."""
        return cls(FileDescriptorSet.FromString(descriptor_set.read_bytes()))

    def methods(self, service: str) -> tuple[Method, ...]:
        """Return the rpcs of the gRPC service with full name `service`; KeyError where there is none."""
        if self._pool is not None and service not in self._services:
            proto = ServiceDescriptorProto()
            self._pool.FindServiceByName(service).CopyToProto(proto)
            self._services[service] = proto
        return tuple(_method(service, method) for method in self._services[service].method)

    def of(self, services: Iterable[str]) -> tuple[Method, ...]:
        """Return the rpcs of several gRPC services in order."""
        return tuple(method for service in services for method in self.methods(service))


def check(mesh: Mesh, contracts: Contracts) -> None:
    """Raise SettingError where mesh.yaml and the contracts contradict each other.

    Every gRPC service must exist, and every service that a contract admits must be among the callers in mesh.yaml.
    """
    for name, service in mesh.services.items():
        for grpc in service.grpc:
            try:
                methods = contracts.methods(grpc)
            except KeyError:
                raise SettingError(f"services.{name}.grpc: no contract defines {grpc}") from None
            for method in methods:
                for caller in sorted(method.callers - set(service.callers)):
                    raise SettingError(f"services.{name}.callers: lacks {caller}, which {method.path} admits")


def with_error_details(descriptor_set: bytes) -> bytes:
    """Add google/rpc/error_details.proto to a serialized FileDescriptorSet: without it errors' details are not JSON."""
    known = {file.name for file in FileDescriptorSet.FromString(descriptor_set).file}
    more = FileDescriptorSet()
    missing = [error_details_pb2.DESCRIPTOR, *error_details_pb2.DESCRIPTOR.dependencies]
    for file in reversed(missing):
        if file.name not in known:
            file.CopyToProto(more.file.add())
    # Messages of one type are merged by putting one after the other; what was there stays as it was, byte by byte.
    return descriptor_set + more.SerializeToString(deterministic=True)


def _services(files: FileDescriptorSet) -> Iterator[tuple[str, ServiceDescriptorProto]]:
    for file in files.file:
        for service in file.service:
            yield f"{file.package}.{service.name}", service


def _method(service: str, method: MethodDescriptorProto) -> Method:
    access = method.options.Extensions[annotations_pb2.access]
    return Method(
        service=service,
        name=method.name,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        no_side_effects=method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
        people=access.role != annotations_pb2.ROLE_UNSPECIFIED,
        anyone=access.role == annotations_pb2.ROLE_ANONYMOUS,
        callers=frozenset(access.services),
        http=tuple(_http_rules(method.options)),
    )


def _http_rules(options: MethodOptions) -> Iterator[HttpRule]:
    if not options.HasExtension(http_annotations.http):
        return
    first: http_pb2.HttpRule = options.Extensions[http_annotations.http]
    for rule in (first, *first.additional_bindings):
        verb = rule.WhichOneof("pattern")
        if verb == "custom":
            yield HttpRule(rule.custom.kind, rule.custom.path, rule.response_body)
        elif verb is not None:
            yield HttpRule(verb.upper(), getattr(rule, verb), rule.response_body)


def _segments(template: str) -> str:
    wild = {"*": "[^/]+", "**": ".+"}
    return "/".join(wild.get(segment) or re.escape(segment) for segment in template.split("/"))
