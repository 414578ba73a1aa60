"""What every call passes, outermost first: telemetry, errors, drain, deadline, caller, people, validation.

Errors stand outside the others because a refusal by any of them is rendered in the same way.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import protovalidate
from google.protobuf.message import Message
from google.rpc import code_pb2
from grpc_status import rpc_status

from reelmesh.mesh import deadline
from reelmesh.mesh.annotations import access_of, loggable
from reelmesh.mesh.errors import DomainError, InvalidArgument, PermissionDenied, Stopping, to_status
from reelmesh.mesh.identity import caller_of

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs only

log = logging.getLogger(__name__)

PEOPLE = "gateway"
"""The service through which people call."""
PLUMBING = ("grpc.health.", "grpc.reflection.", "grpc.channelz.")
"""Services of gRPC itself, open to every certificate of the mesh."""


class Layer(grpc.aio.ServerInterceptor):
    """An interceptor that stands around a call and sees its requests; subclasses override `around` or `request`."""

    def around(self, method: str, context: Context, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Enter before the call, leave after it. `streaming` is true when either side is a stream."""
        return _nothing()

    def request(self, message: Any) -> None:
        """See a request message before the servicer does. Raises DomainError."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler that the rest of the chain gives."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        return self._wrap(handler_call_details.method, handler)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        streaming = handler.request_streaming or handler.response_streaming
        sees_requests = type(self).request is not Layer.request

        def requests(given: Any) -> Any:
            if not sees_requests:
                return given
            if handler.request_streaming:
                return self._each(given)
            self.request(given)
            return given

        async def unary(given: Any, context: Context) -> Any:
            async with self.around(method, context, streaming):
                return await inner(requests(given), context)

        async def stream(given: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(method, context, streaming):
                answers = inner(requests(given), context)
                if inspect.isawaitable(answers):
                    await answers  # a handler in the style that writes to the context itself
                    return
                async for message in answers:
                    yield message

        if handler.response_streaming:
            inner: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
            make: Any = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, handler.request_deserializer, handler.response_serializer)  # type: ignore[no-any-return]
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(unary, handler.request_deserializer, handler.response_serializer)  # type: ignore[no-any-return]

    async def _each(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            self.request(message)
            yield message


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


class Errors(Layer):
    """Renders DomainErrors as google.rpc.Status; hides everything else behind INTERNAL."""

    @asynccontextmanager
    async def _render(self, method: str, context: Context) -> AsyncIterator[None]:
        area = method.lstrip("/").split(".")
        domain = ".".join(area[:2])
        try:
            yield
        except DomainError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error, domain)))
        except TimeoutError:
            late = DomainError("the deadline has passed")
            status = to_status(late, domain)
            status.code = code_pb2.DEADLINE_EXCEEDED
            await context.abort_with_status(rpc_status.to_status(status))
        except (grpc.aio.AbortError, grpc.aio.AioRpcError) as error:
            if isinstance(error, grpc.aio.AioRpcError):
                # A service that we asked: its status means to our caller what it meant to us.
                await context.abort(error.code(), error.details() or "", error.trailing_metadata() or ())
            raise
        except Exception:
            log.exception("%s failed", method)
            status = to_status(DomainError("something went wrong inside; the log of the service says what"), domain)
            status.code = code_pb2.INTERNAL
            await context.abort_with_status(rpc_status.to_status(status))

    def around(self, method: str, context: Context, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Render what is raised inside."""
        return self._render(method, context)


class Drain(Layer):
    """Ends streams when the server stops: they have no end of their own, and every one can be resumed."""

    def __init__(self) -> None:
        self._streams: set[asyncio.Timeout] = set()
        self._stopping = False

    def begin(self, grace: float) -> None:
        """End the streams of now, and those to come, `grace` seconds from now."""
        self._stopping = True
        when = asyncio.get_running_loop().time() + grace
        for limit in self._streams:
            limit.reschedule(when)

    @asynccontextmanager
    async def _until_stop(self) -> AsyncIterator[None]:
        limit = asyncio.timeout(0 if self._stopping else None)
        try:
            async with limit:
                self._streams.add(limit)
                try:
                    yield
                finally:
                    self._streams.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Stopping("the server is stopping; go on where the stream was cut off") from None

    def around(self, method: str, context: Context, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Run a stream until the server stops; other calls are short."""
        return self._until_stop() if streaming else _nothing()


class Deadline(Layer):
    """Gives every unary call a deadline and refuses what came too late."""

    @asynccontextmanager
    async def _limit(self, context: Context, streaming: bool) -> AsyncIterator[None]:
        remaining = context.time_remaining()
        if remaining is None and not streaming:
            remaining = deadline.DEFAULT_SECONDS
        deadline.begin(remaining)
        async with asyncio.timeout(remaining):
            yield

    def around(self, method: str, context: Context, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Run the call within its time."""
        return self._limit(context, streaming)


class Caller(Layer):
    """Admits the callers that the contract names; an rpc without an access option is refused."""

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain

    @asynccontextmanager
    async def _admit(self, method: str, context: Context) -> AsyncIterator[None]:
        caller = caller_of(context.auth_context(), self._trust_domain)
        if not self._allowed(method, caller):
            raise PermissionDenied("the contract does not allow this caller", caller=caller or "unknown")
        yield

    def around(self, method: str, context: Context, streaming: bool) -> AbstractAsyncContextManager[None]:
        """Refuse callers that the contract does not name."""
        return self._admit(method, context)

    @staticmethod
    def _allowed(method: str, caller: str | None) -> bool:
        if caller is None:
            return False
        if method.lstrip("/").startswith(PLUMBING):
            return True
        access = access_of(method)
        if access is None:
            return False
        return caller in access.services or (caller == PEOPLE and access.role != 0)


class Validation(Layer):
    """Holds every request against the rules in the contract."""

    def __init__(self, log_key: bytes) -> None:
        self._validator = protovalidate.Validator()
        self._log_key = log_key

    def request(self, message: Any) -> None:
        """Raise InvalidArgument with one violation for each field that breaks its rule."""
        if not isinstance(message, Message):
            return
        try:
            validate(self._validator, message)
        except InvalidArgument:
            log.info("refused %s: %s", type(message).__name__, loggable(message, self._log_key))
            raise


def validate(validator: protovalidate.Validator, message: Message) -> None:
    """Raise InvalidArgument with one violation for each field that breaks its rule in the contract."""
    found = validator.collect_violations(message)
    if found:
        violations = [(path_of(v.proto.field), v.proto.message or v.proto.rule_id) for v in found]
        first = violations[0]
        raise InvalidArgument(f"{first[0]}: {first[1]}", violations=violations)


def path_of(field: Any) -> str:
    """Write a violation's path as people do: ``upload.tags[2]``."""
    parts = []
    for element in field.elements if field is not None else ():
        name = element.field_name
        subscript = getattr(element, "subscript", None)
        index = getattr(subscript, "value", None) if subscript is not None else None
        parts.append(f"{name}[{index}]" if index is not None else name)
    return ".".join(parts)
