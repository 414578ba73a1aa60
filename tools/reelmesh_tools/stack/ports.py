"""Ports of the local stack: chosen once, kept, and chosen again only when somebody else took one."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

# Below Linux's ephemeral range (32768 and up): an outgoing connection can never sit on a port that a crashed server
# is about to bind again.
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS = 500


class NoFreePortError(Exception):
    """No port could be found, or the one that was asked for is taken."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a server could listen on `port` now; connections still in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(names: Iterable[str], kept: Mapping[str, int], chance: random.Random) -> dict[str, int]:
    """Return one free port for each name, the kept one wherever it is still free.

    Raises NoFreePortError when some hundreds of random tries found none.
    """
    chosen: dict[str, int] = {}
    taken = set(kept.values())
    for name in names:
        port = kept.get(name)
        if port is None or port in chosen.values() or not is_free(port):
            port = _new_port(taken | set(chosen.values()), chance)
        chosen[name] = port
    return chosen


def _new_port(taken: set[int], chance: random.Random) -> int:
    for _ in range(_ATTEMPTS):
        port = chance.randrange(_FIRST, _LAST)
        if port not in taken and is_free(port):
            return port
    message = f"no free port between {_FIRST} and {_LAST}"
    raise NoFreePortError(message)
