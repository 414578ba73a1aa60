"""Schema of a service's own keyspace: versions in its schema.cql, applied once, forward only."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from reelmesh.mesh.errors import Unavailable
from reelmesh.stores.cassandra import Cassandra

LOCK_SECONDS = 60


def keyspace_of(area: str) -> str:
    """Return the keyspace of a service."""
    return f"reelmesh_{area}"


def versions(script: str) -> dict[int, list[str]]:
    """Split a script at its ``-- version N`` lines into statements without their comments."""
    parts = re.split(r"^-- version (\d+)[^\n]*$", script, flags=re.MULTILINE)
    found = {}
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        bare = re.sub(r"--[^\n]*", "", text)
        found[int(number)] = [statement.strip() for statement in bare.split(";") if statement.strip()]
    return found


async def migrate(cassandra: Cassandra, area: str, replication: Mapping[str, Any]) -> None:
    """Bring the keyspace of `area` to the newest version of ``reelmesh/<area>/schema.cql``.

    Several processes may call this at once: one works, the others wait. Raises Unavailable.
    """
    keyspace = keyspace_of(area)
    options = json.dumps(dict(replication)).replace('"', "'")
    await cassandra.execute(f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {options}")
    await cassandra.execute(
        f"CREATE TABLE IF NOT EXISTS {keyspace}.migrations (version int PRIMARY KEY, applied timestamp)"
    )
    script = resources.files(f"reelmesh.{area}").joinpath("schema.cql").read_text()
    wanted = versions(script)
    for _ in range(LOCK_SECONDS * 10):
        rows = await cassandra.execute(f"SELECT version FROM {keyspace}.migrations")
        applied = {row.version for row in rows if row.version > 0}
        if applied >= wanted.keys():
            return
        # Row 0 is the lock; it goes by itself should its holder die.
        lock = await cassandra.execute(
            f"INSERT INTO {keyspace}.migrations (version) VALUES (0) IF NOT EXISTS USING TTL {LOCK_SECONDS}"
        )
        if not lock[0].applied:
            await asyncio.sleep(0.1)  # another process is at work; there is no event to wait for
            continue
        try:
            for number in sorted(wanted.keys() - applied):
                for statement in wanted[number]:
                    await cassandra.execute(statement.replace("KEYSPACE_NAME", keyspace))
                await cassandra.execute(
                    f"INSERT INTO {keyspace}.migrations (version, applied) VALUES (?, toTimestamp(now()))", number
                )
        finally:
            await cassandra.execute(f"DELETE FROM {keyspace}.migrations WHERE version = 0 IF EXISTS")
        return
    raise Unavailable(f"the schema of {keyspace} is being changed by another process")
