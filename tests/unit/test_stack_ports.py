from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reelmesh_tools.stack import plan, ports


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_chosen_ports_are_distinct_free_and_below_the_ephemeral_range() -> None:
    chosen = ports.choose([f"p{number}" for number in range(20)], {}, random.SystemRandom())
    assert len(set(chosen.values())) == 20
    assert all(ports.is_free(port) and 20_000 <= port < 32_768 for port in chosen.values())


def test_kept_ports_are_used_again_except_the_one_that_was_taken(taken_port: int) -> None:
    first = ports.choose(["a", "b"], {}, random.SystemRandom())
    again = ports.choose(["a", "b"], {**first, "b": taken_port}, random.SystemRandom())
    assert again["a"] == first["a"]
    assert again["b"] not in {taken_port, first["a"]}


def test_two_names_never_share_a_kept_port() -> None:
    free = ports.choose(["x"], {}, random.SystemRandom())["x"]
    chosen = ports.choose(["a", "b"], {"a": free, "b": free}, random.SystemRandom())
    assert chosen["a"] == free != chosen["b"]


def test_a_plan_survives_the_round_trip_and_keeps_its_gateway_port(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    made = plan.make(path, {"REELMESH_PORT": "18999"}, None, random.SystemRandom())
    assert plan.load(path) == made
    assert plan.make(path, {}, None, random.SystemRandom()) == made
    assert made.processes == plan.USUAL


def test_the_users_own_servers_are_not_started(tmp_path: Path) -> None:
    own = {"REELMESH_CASSANDRA": "10.0.0.1:9042", "REELMESH_KAFKA": "10.0.0.2:9092"}
    made = plan.make(tmp_path / "stack.yaml", own, ["cassandra", "kafka", "ingest"], random.SystemRandom())
    assert (made.cassandra, made.kafka, made.processes) == ("10.0.0.1:9042", "10.0.0.2:9092", ("ingest",))


def test_a_taken_gateway_port_is_an_error_that_names_it(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(ports.NoFreePortError, match=str(taken_port)):
        plan.make(tmp_path / "stack.yaml", {"REELMESH_PORT": str(taken_port)}, None, random.SystemRandom())


def test_an_unknown_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zookeeper"):
        plan.make(tmp_path / "stack.yaml", {}, ["zookeeper"], random.SystemRandom())


def test_a_foreign_stack_file_is_refused_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(yaml.safe_dump({"services": []}))
    with pytest.raises(ValueError, match="not a stack file"):
        plan.make(path, {}, None, random.SystemRandom())
