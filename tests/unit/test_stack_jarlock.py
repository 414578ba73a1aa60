from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reelmesh_tools.stack import jarlock
from reelmesh_tools.stack.jarlock import Jar, Lock, LockError
from reelmesh_tools.stack.layout import repository
from reelmesh_tools.stack.plan import JVM_SERVERS

CONTENT = b"a jar"
JAR = Jar("org.example.video", "player", "", "1.2", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
NATIVE = Jar("org.example", "codec", "linux-x86_64", "3", len(CONTENT), JAR.sha256)
LOCK = Lock("org.example.video:player:1.2", (JAR, NATIVE))


def put(jar: Jar, folder: Path, content: bytes) -> None:
    path = folder / jar.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_lock_survives_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    jarlock.write(LOCK, path)
    assert jarlock.read(path) == LOCK
    assert jarlock.read_endpoint(path) == LOCK.endpoint


def test_paths_follow_the_maven_layout() -> None:
    assert JAR.relative_path == Path("org/example/video/player/1.2/player-1.2.jar")
    assert NATIVE.relative_path == Path("org/example/codec/3/codec-3-linux-x86_64.jar")


def test_missing_truncated_and_altered_jars_are_found(tmp_path: Path) -> None:
    assert jarlock.missing(LOCK, tmp_path) == [JAR, NATIVE]
    put(JAR, tmp_path, CONTENT)
    put(NATIVE, tmp_path, CONTENT)
    assert jarlock.missing(LOCK, tmp_path) == []
    put(JAR, tmp_path, CONTENT[:-1])
    put(NATIVE, tmp_path, b"A jar")
    assert jarlock.missing(LOCK, tmp_path) == [JAR, NATIVE]


def test_the_class_path_keeps_the_order(tmp_path: Path) -> None:
    expected = f"{tmp_path / JAR.relative_path}:{tmp_path / NATIVE.relative_path}"
    assert jarlock.class_path(LOCK, tmp_path) == expected


@pytest.mark.parametrize(
    "line",
    [
        "org.example:player:jar:1.2 5",
        "org.example:player:1.2 5 sha256:" + "0" * 64,
        "org.example:player:jar:1.2 five sha256:" + "0" * 64,
        "org.example:player:jar:1.2 5 sha1:" + "0" * 64,
        "org.example:player:jar:1.2 5 sha256:" + "g" * 64,
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(f"endpoint a:b:1\n{line}\n")
    with pytest.raises(LockError, match=r"x\.lock:2"):
        jarlock.read(path)


@pytest.mark.parametrize("content", [None, "", "endpoint a:b:1\n"])
def test_a_lock_of_nothing_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "x.lock"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LockError):
        jarlock.read(path)


@pytest.mark.parametrize("server", JVM_SERVERS)
def test_the_shipped_locks_are_whole_and_name_no_host(server: str) -> None:
    path = repository() / "deploy" / "jvm" / f"{server}.lock"
    lock = jarlock.read(path)
    assert lock.jars[0].coordinate.startswith(lock.endpoint.split(":")[0])
    assert len({jar.relative_path for jar in lock.jars}) == len(lock.jars)
    assert "://" not in path.read_text()
