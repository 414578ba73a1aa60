from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reelmesh_tools.stack import control
from reelmesh_tools.stack.control import ControlError


async def test_orders_are_carried_out_and_refusals_carry_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    done = []

    async def handle(action: str, name: str) -> None:
        if name == "nobody":
            raise ValueError("there is no nobody")
        done.append((action, name))

    server = await control.serve(path, handle)
    assert path.stat().st_mode & 0o077 == 0
    try:
        await asyncio.to_thread(control.order, path, "stop", "kafka", 5)
        with pytest.raises(ControlError, match="there is no nobody"):
            await asyncio.to_thread(control.order, path, "stop", "nobody", 5)
    finally:
        server.close()
    assert done == [("stop", "kafka")]


async def test_an_order_does_not_wait_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    never = asyncio.Event()

    async def handle(_action: str, _name: str) -> None:
        await never.wait()

    server = await control.serve(path, handle)
    try:
        with pytest.raises(ControlError):
            await asyncio.to_thread(control.order, path, "stop", "kafka", 0.2)
    finally:
        never.set()
        server.close()


def test_without_a_supervisor_the_order_fails(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="cannot be asked"):
        control.order(tmp_path / "control.sock", "stop", "kafka", 1)
