"""Processes by identity: a pid together with its start time, so that a reused pid is never touched."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped, unused-ignore]

# Start times are ticks since boot added to the boot time, which moves a little when the clock is set.
_START_TOLERANCE = 2.0


@dataclass(frozen=True)
class Identity:
    """One process for its whole life, and no other that later gets its pid."""

    pid: int
    started: float
    """Unix time in seconds at which the kernel started it."""


def identify(pid: int) -> Identity | None:
    """Return the identity of the process that has `pid` now, None when there is none."""
    try:
        return Identity(pid, float(psutil.Process(pid).create_time()))
    except psutil.Error:
        return None


def is_alive(identity: Identity) -> bool:
    """Say whether that very process still runs; a zombie does not."""
    return _open(identity) is not None


def resident_bytes(identity: Identity) -> int:
    """Return the resident memory of the process in bytes, 0 when it is gone."""
    process = _open(identity)
    try:
        return int(process.memory_info().rss) if process else 0
    except psutil.Error:
        return 0


def family(identity: Identity) -> list[Identity]:
    """Return the live descendants of the process and the members of its process group, itself left out.

    A group outlives its leader, so this also finds what a crashed process has left behind.
    """
    found: dict[int, Identity] = {}
    process = _open(identity)
    try:
        for child in process.children(recursive=True) if process else ():
            found[child.pid] = Identity(child.pid, float(child.create_time()))
    except psutil.Error:
        pass
    for pid in psutil.pids():
        try:
            if pid != identity.pid and os.getpgid(pid) == identity.pid:
                member = identify(pid)
                if member and member.started >= identity.started - _START_TOLERANCE:
                    found[pid] = member
        except OSError:
            continue
    return list(found.values())


def end(identities: Iterable[Identity], grace: float) -> None:
    """Stop the processes: SIGTERM, then after at most `grace` seconds SIGKILL; return once all are gone."""
    live = [process for identity in identities if (process := _open(identity))]
    for signal_all in ("terminate", "kill"):
        for process in live:
            try:
                getattr(process, signal_all)()
            except psutil.Error:
                continue
        deadline = time.monotonic() + (grace if signal_all == "terminate" else 10.0)
        while live and time.monotonic() < deadline:
            live = [process for process in live if _runs(process)]
            if live:
                time.sleep(0.05)


def _open(identity: Identity) -> psutil.Process | None:
    try:
        process = psutil.Process(identity.pid)
        same = abs(float(process.create_time()) - identity.started) <= _START_TOLERANCE
    except psutil.Error:
        return None
    return process if same and _runs(process) else None


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
