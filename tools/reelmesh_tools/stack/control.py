"""Orders to a running supervisor: one JSON object a line over a Unix socket, one answer for each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Handler = Callable[[str, str], Awaitable[None]]
"""Takes an action and a process name; raises ValueError to refuse."""


class ControlError(Exception):
    """The supervisor refused an order, or could not be asked."""


async def serve(path: Path, handle: Handler) -> asyncio.Server:
    """Listen at `path`, for this user only; the caller closes the server and removes the file."""
    path.unlink(missing_ok=True)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, handle)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client left, or sent a line without end
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    # The folder is closed to others, but the fallback in the temporary folder is not.
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(converse, str(path))
    finally:
        os.umask(before)


def order(path: Path, action: str, name: str, timeout: float) -> None:
    """Send one order and wait until it has been carried out.

    `action` is "stop" (hold the process down; done when it is gone) or "start" (done when it has been released).
    Raises ControlError when there is no supervisor, it refuses, or `timeout` seconds pass.
    """
    try:
        if path.stat().st_uid != os.getuid():
            message = f"{path} belongs to another user"
            raise ControlError(message)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps({"action": action, "name": name}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline() or b"{}")
    except (OSError, ValueError) as error:
        message = f"the supervisor cannot be asked: {error}"
        raise ControlError(message) from error
    if answer.get("error") is not None or not answer.get("ok"):
        raise ControlError(answer.get("error") or "the supervisor left without an answer")


async def _answer(line: bytes, handle: Handler) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        await handle(str(asked["action"]), str(asked["name"]))
    except (ValueError, KeyError, TypeError) as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True}
