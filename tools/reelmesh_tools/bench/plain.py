"""Plain HTTP PUT of a file to disk: the yardstick for uploads."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reelmesh_tools.bench.errors import BenchError

START_SECONDS = 10.0
ANSWER_SECONDS = 120.0
BLOCK_BYTES = 2 << 20
"""What the client reads and sends at once; the same as a message of an upload."""

_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            root {folder}/root;
            dav_methods PUT;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class PlainServer:
    """A plain HTTP server that runs."""

    kind: str
    """"nginx", or "putserver" where there is none."""
    port: int
    pid: int
    root: Path
    """Where the files arrive."""


@contextmanager
def server(folder: Path) -> Iterator[PlainServer]:
    """Run the fastest plain PUT server at hand below `folder`, which must exist and be empty. Raises BenchError."""
    for each in (folder / "root", folder / "temp"):
        each.mkdir()
    program = shutil.which("nginx")
    process = _nginx(program, folder) if program else _putserver(folder)
    child, port = process
    try:
        yield PlainServer("nginx" if program else "putserver", port, child.pid, folder / "root")
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for stream in (child.stdin, child.stdout):
            if stream:
                stream.close()


def put(server: PlainServer, source: Path) -> None:
    """PUT `source`; return when the server has all of it. Raises BenchError."""
    target = server.root / source.name
    connection = http.client.HTTPConnection("127.0.0.1", server.port, ANSWER_SECONDS, blocksize=BLOCK_BYTES)
    try:
        with source.open("rb", buffering=0) as file:
            size = source.stat().st_size
            connection.request("PUT", f"/{source.name}", file, {"Content-Length": str(size)})
            answer = connection.getresponse()
            answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the plain server does not take the file: {error}") from error
    finally:
        connection.close()
    if answer.status not in {201, 204} or target.stat().st_size != size:
        raise BenchError(f"the plain server answered {answer.status} and has {target.stat().st_size} of {size} bytes")


def _nginx(program: str, folder: Path) -> tuple[subprocess.Popen[str], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, port=port))
    log = folder / "nginx.log"
    with log.open("w") as stderr:
        child = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(configuration), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return child, port
        time.sleep(0.02)  # nginx has no event for "I listen"
    child.kill()
    child.wait()
    raise BenchError(f"nginx did not start: {log.read_text().strip()}")


def _putserver(folder: Path) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "reelmesh_tools.bench.putserver", str(folder / "root")],
        stdin=subprocess.PIPE,  # its end is how the server learns of ours
        stdout=subprocess.PIPE,
        text=True,
    )
    line = child.stdout.readline() if child.stdout else ""
    if not line.strip().isdecimal():
        child.kill()
        child.wait()
        raise BenchError("the plain server did not start")
    return child, int(line)
