"""A process that counts a warehouse plainly, and reads its roll-ups: nothing of the platform's queries is in it.

It reads its orders as one line of JSON (the folder of a warehouse that nobody has open), and prints what it counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import text

from reelmesh.stores.warehouse import Warehouse

_EVENTS = """
    SELECT count(), sum(view), sum(watched), sum(stalled) FROM (
        SELECT any(type = 'REQUESTED') AS view, any(watch_ms) AS watched, any(stall_ms) AS stalled
        FROM events GROUP BY event_id)
"""
_SESSIONS = """
    SELECT sum(arrived), sum(asked), sum(watched), sum(stalled) FROM (
        SELECT groupBitmapMerge(events) AS arrived, max(requested) AS asked, max(watch_ms) AS watched,
            max(stall_ms) AS stalled
        FROM sessions GROUP BY session)
"""
_KEYS = "organization, bucket, video, rendition, cdn, country, device, player_version, experiments"
_FACET_KEYS = "organization, dimension, bucket, value"
FIGURES = ("events", "views", "watch_ms", "stall_ms")


async def count(folder: Path) -> dict[str, Any]:
    """Return FIGURES of the raw events, each id once, of each roll-up's latest rows, and of the sessions.

    `rows` says how many rows of events there are, repeats that no merge has met yet included, and `received` how many
    came.
    """
    warehouse = await Warehouse.open("", folder)
    try:

        async def figures(query: str) -> dict[str, int]:
            rows = await warehouse.rows(text(query))
            return dict(zip(FIGURES, map(int, rows[0]), strict=True))

        found: dict[str, Any] = {"raw": await figures(_EVENTS), "sessions": await figures(_SESSIONS)}
        latest = ", ".join(f"argMax({name}, version) AS {name}" for name in FIGURES)
        totals = ", ".join(f"sum({name})" for name in FIGURES)
        for rollup in ("minutes", "hours", "days"):
            found[rollup] = await figures(f"SELECT {totals} FROM (SELECT {latest} FROM {rollup} GROUP BY {_KEYS})")
        for rollup in ("facets_hours", "facets_days"):
            whole = f"SELECT {latest} FROM {rollup} WHERE dimension = '' GROUP BY {_FACET_KEYS}"
            found[rollup] = await figures(f"SELECT {totals} FROM ({whole})")
        found["rows"] = int((await warehouse.rows(text("SELECT count() FROM events")))[0][0])
        found["received"] = int((await warehouse.rows(text("SELECT sum(events) FROM receipts")))[0][0])
    finally:
        await warehouse.close()
    return found


def main() -> None:
    """Run as a program."""
    orders = json.loads(sys.stdin.readline())
    sys.stdout.write(json.dumps(asyncio.run(count(Path(orders["folder"])))) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()  # as a loader does


if __name__ == "__main__":
    main()
