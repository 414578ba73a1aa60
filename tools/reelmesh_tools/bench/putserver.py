"""A plain HTTP server that knows PUT and nothing else: the yardstick where there is no nginx.

``python -m reelmesh_tools.bench.putserver FOLDER`` listens on a free port of 127.0.0.1, prints it, and writes the body
of each PUT to a file of that name in FOLDER, under another name until it is whole. One connection at a time; it ends
when its standard input does.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from pathlib import Path

BUFFER_BYTES = 1 << 20
MAX_HEAD_BYTES = 16 << 10
CLIENT_SECONDS = 60.0
"""A client that is silent for this long is left."""


class BadRequest(Exception):
    """What came is not a PUT that this server understands."""


def main() -> None:
    """Serve until standard input ends."""
    folder = Path(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(CLIENT_SECONDS)
                serve(connection, folder)


def serve(connection: socket.socket, folder: Path) -> None:
    """Answer the PUTs of one connection."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    try:
        while (head := _head(connection, buffer)) is not None:
            name, size, early = head
            _store(connection, folder / name, size, early, buffer)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    except BadRequest as error:
        text = str(error).encode()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    except (ConnectionError, TimeoutError):
        return


def _head(connection: socket.socket, buffer: memoryview) -> tuple[str, int, bytes] | None:
    """Read a request up to its body: the file's name, the body's size, and what came of it already."""
    got = b""
    while b"\r\n\r\n" not in got:
        count = connection.recv_into(buffer)
        if count == 0:
            return None
        got += buffer[:count]
        if len(got) > MAX_HEAD_BYTES + BUFFER_BYTES:
            raise BadRequest("the head is too long")
    head, early = got.split(b"\r\n\r\n", 1)
    request, *lines = head.decode("latin-1").split("\r\n")
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    method, _, rest = request.partition(" ")
    name = rest.partition(" ")[0].removeprefix("/")
    size = fields.get("content-length", "")
    if method != "PUT" or not size.isdecimal():
        raise BadRequest("PUT with a Content-Length is all there is")
    if not name or name != Path(name).name or name.startswith("."):
        raise BadRequest("the name must be that of a file")
    return name, int(size), early


def _store(connection: socket.socket, file: Path, size: int, early: bytes, buffer: memoryview) -> None:
    if len(early) > size:
        raise BadRequest("pipelined requests are not understood")
    beside = file.with_name(f".{file.name}.new")
    opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write(opened, memoryview(early))
        left = size - len(early)
        while left:
            # All of a buffer at once: fewer, larger writes.
            count = connection.recv_into(buffer, min(left, BUFFER_BYTES), socket.MSG_WAITALL)
            if count == 0:
                raise ConnectionError("the client left")
            _write(opened, buffer[:count])
            left -= count
        beside.replace(file)
    finally:
        os.close(opened)
        beside.unlink(missing_ok=True)


def _write(opened: int, data: memoryview) -> None:
    while data:
        data = data[os.write(opened, data) :]


if __name__ == "__main__":
    main()
