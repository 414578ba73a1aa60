"""Fetching jars by coordinate with jgo, and resolving them anew for the lock."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jgo
import requests
from jgo.maven import MavenContext, PythonResolver

from reelmesh_tools.stack import jarlock
from reelmesh_tools.stack.jarlock import Jar, Lock, LockError

# The network is the limit, not the processors; more connections only make the registry push back.
_CONNECTIONS = 6
_ATTEMPTS = 3
_TIMEOUT = 60


def fetch(jars: Sequence[Jar], folder: Path, received: Callable[[int], None]) -> None:
    """Put exactly these jars into `folder`, a Maven repository, checked against their SHA-256.

    `received` is called from several threads with the number of bytes that have just arrived. A jar appears under its
    name only when it is complete and right, so a killed fetch or a second one at the same time does no harm.

    Raises LockError when a jar cannot be had or is not the locked one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".reelmesh-", dir=folder) as staging,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
    ):
        context = _context(Path(staging), received)
        waits = [pool.submit(_fetch_one, jar, context, folder) for jar in jars]
        try:
            for wait in waits:
                wait.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def resolve(endpoint: str, folder: Path) -> Lock:
    """Resolve `endpoint` with all that it needs, fetch the jars into `folder`, and return their lock.

    Asks the registry for versions, so the result may differ from one day to another; a lock does not.
    """
    artifacts = jgo.resolve(endpoint)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        paths = list(pool.map(lambda artifact: artifact.resolve(), artifacts))
    jars = []
    for artifact, path in zip(artifacts, paths, strict=True):
        jar = Jar(
            artifact.groupId,
            artifact.artifactId,
            artifact.classifier,
            artifact.version,
            path.stat().st_size,
            jarlock.digest_of(path),
        )
        if path != folder / jar.relative_path:
            message = f"{jar.coordinate} was cached at {path}, not in {folder}"
            raise LockError(message)
        jars.append(jar)
    return Lock(endpoint, tuple(jars))


def _context(staging: Path, received: Callable[[int], None]) -> MavenContext:
    @contextlib.contextmanager
    def progress(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield received

    return MavenContext(PythonResolver(progress_callback=progress), repo_cache=staging, timeout=_TIMEOUT)


def _fetch_one(jar: Jar, context: MavenContext, folder: Path) -> None:
    staged = context.repo_cache / jar.relative_path
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier, "jar")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            artifact.resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            staged.unlink(missing_ok=True)
            if attempt == _ATTEMPTS:
                message = f"{jar.coordinate} could not be fetched: {error}"
                raise LockError(message) from error
            time.sleep(attempt)
        else:
            break
    if not jarlock.is_intact(jar, staged):
        message = f"{jar.coordinate} is not the jar that was locked; its SHA-256 is {jarlock.digest_of(staged)}"
        raise LockError(message)
    target = folder / jar.relative_path
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)
