"""Tells what a warehouse holds of an organization, as JSON: `python sink_look.py FOLDER ORGANIZATION`."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from reelmesh.analytics.audit import Audit
from reelmesh.analytics.columns import EVENTS
from reelmesh.mesh.clock import SystemClock
from reelmesh.stores.warehouse import Warehouse


async def main(folder: Path, organization: str) -> None:
    """Print the figures of each table, and the distinct ids under "ids"."""
    warehouse = await Warehouse.open("", folder)

    async def fresh(_wanted: datetime, _seconds: float) -> bool:
        return True

    figures = await Audit(warehouse, SystemClock(), fresh, 90).figures(organization)
    query = select(func.uniqExact(EVENTS.c.event_id)).where(EVENTS.c.organization == organization)
    ids = (await warehouse.rows(query))[0][0]
    sys.stdout.write(json.dumps({"ids": {"distinct": ids}, **{each.table: asdict(each) for each in figures}}))
    await warehouse.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
