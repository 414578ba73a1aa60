"""Plain HTTP PUT of a file to disk, directly and through a bare Envoy: the yardsticks for uploads."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reelmesh_gateway.envoy import Node, address, extension, typed
from reelmesh_gateway.validate import envoy_binary
from reelmesh_gateway.write import dump
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
    with _ending(child):
        yield PlainServer("nginx" if program else "putserver", port, child.pid, folder / "root")


@contextmanager
def proxy(server: PlainServer, folder: Path) -> Iterator[PlainServer]:
    """Run an Envoy in front of `server` that does nothing but pass on: HTTP/1.1 on both sides, no TLS, one route.

    It shows what any server behind the gateway can reach at most. Raises BenchError.
    """
    port = _free_port()
    configuration = folder / "envoy.yaml"
    configuration.write_bytes(dump(_bare_envoy(port, server.port)))
    # Its own shared memory: another Envoy, such as the platform's, has the default one.
    program = [str(envoy_binary()), "-c", str(configuration), "--log-level", "error", "--use-dynamic-base-id"]
    child = _start(program, port, folder / "envoy.log")
    with _ending(child):
        yield PlainServer("envoy", port, child.pid, server.root)


def _bare_envoy(port: int, behind: int) -> Node:
    to_server = {"match": {"prefix": "/"}, "route": {"cluster": "plain", "timeout": "0s"}}
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="plain",
        route_config={"name": "plain", "virtual_hosts": [{"name": "plain", "domains": ["*"], "routes": [to_server]}]},
        http_filters=[extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")],
    )
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": address(f"127.0.0.1:{behind}")}}
    return {
        "static_resources": {
            "listeners": [{"address": address(f"127.0.0.1:{port}"), "filter_chains": [{"filters": filters}]}],
            "clusters": [
                {
                    "name": "plain",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "plain", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        }
    }


@contextmanager
def _ending(child: subprocess.Popen[str]) -> Iterator[None]:
    """End `child` afterwards, in any case."""
    try:
        yield
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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


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
    port = _free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, port=port))
    command = [program, "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    return _start(command, port, folder / "nginx.log"), port


def _start(command: Sequence[str], port: int, log: Path) -> subprocess.Popen[str]:
    """Start a server and return once it listens at `port`. Raises BenchError with what it logged."""
    with log.open("w") as stderr:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, text=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return child
        time.sleep(0.02)  # neither nginx nor Envoy has an event for "I listen"
    child.kill()
    child.wait()
    raise BenchError(f"{log.stem} did not start: {log.read_text().strip()}")


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
