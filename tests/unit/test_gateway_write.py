from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from reelmesh_gateway.__main__ import main
from reelmesh_gateway.contracts import Contracts
from reelmesh_gateway.envoy import address
from reelmesh_gateway.guard import KeyFiles
from reelmesh_gateway.mesh import load
from reelmesh_gateway.routes import route_configuration
from reelmesh_gateway.write import dump, write

ROOT = Path(__file__).parents[2]
DESCRIPTORS = ROOT / "envoy" / "reelmesh.binpb"

OTHER_HOST = "envoy.retry_host_predicates.previous_hosts"


def written(tmp_path: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "gateway_port": 8080,
        "admin_port": 9901,
        "addresses": {"ingest": ["127.0.0.1:9001"]},
        "certificates": tmp_path / "certificates",
        "keys": KeyFiles(tmp_path / "jwks.json", tmp_path / "people.json"),
        "descriptor_set": DESCRIPTORS,
        **changes,
    }
    return write(ROOT / "gateway/mesh.yaml", tmp_path / "envoy", **arguments)


def test_yaml_means_what_was_meant() -> None:
    document = {"n": "n", "off": ["no", "1e3", "null", "a: b", 'quo"te', "\\d+", "ü", ""], "number": 3, "flag": False}
    text = dump(document).decode()
    assert yaml.safe_load(text) == document
    assert '"n": "n"' in text
    assert '"flag": false' in text


def test_every_file_reads_back_as_it_was(tmp_path: Path) -> None:
    for file in written(tmp_path).parent.glob("*.yaml"):
        document = yaml.safe_load(file.read_text())
        assert dump(document) == file.read_bytes()


def test_writing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    folder = written(tmp_path).parent
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    written(tmp_path)
    assert before == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    written(tmp_path, addresses={"ingest": ["127.0.0.1:9002"]})
    after = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"eds-ingest.yaml"}


def test_wrong_addresses_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for addresses in ({"nobody": ["127.0.0.1:1"]}, {"ingest": ["localhost:1"]}, {"ingest": ["127.0.0.1"]}):
        with pytest.raises(ValueError, match=r"nobody|is not an address"):
            written(tmp_path, addresses=addresses)
    assert not (tmp_path / "envoy").exists()


def test_addresses() -> None:
    assert address("[::1]:80") == {"socket_address": {"address": "::1", "port_value": 80}}
    assert address("unix:/run/a") == {"pipe": {"path": "/run/a"}}
    with pytest.raises(ValueError, match="99999"):
        address("127.0.0.1:99999")


def test_only_what_people_may_call_has_a_route() -> None:
    contracts = Contracts.read(DESCRIPTORS)
    mesh = load(ROOT / "gateway/mesh.yaml")
    (host,) = route_configuration(mesh, contracts)["virtual_hosts"]
    routes = {route["name"]: route for route in host["routes"]}
    for service in mesh.services.values():
        for method in itertools.chain.from_iterable(map(contracts.methods, service.grpc)):
            assert (method.path in routes) is method.people, method.path
            if not method.people:
                continue
            action = routes[method.path]["route"]
            assert ("retry_policy" in action) is (method.no_side_effects and not method.streaming), method.path
            if retry := action.get("retry_policy"):
                # What was under way on an endpoint that is killed is asked of another one.
                assert "reset" in retry["retry_on"].split(","), method.path
                assert [each["name"] for each in retry["retry_host_predicate"]] == [OTHER_HOST], method.path
                assert retry["per_try_timeout"] == f"{service.timeout.total_seconds() / 3:.3f}s", method.path
            assert ("idle_timeout" in action) is method.streaming, method.path
            deadline = "0s" if method.streaming else f"{service.timeout.total_seconds():.3f}s"
            assert action["max_stream_duration"]["max_stream_duration"] == deadline, method.path


def test_the_example_is_up_to_date() -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_a_service_may_have_limits_of_its_own() -> None:
    mesh, contracts = load(ROOT / "gateway/mesh.yaml"), Contracts.read(DESCRIPTORS)
    bounds: dict[str, set[tuple[int | None, int | None]]] = {}
    for route in route_configuration(mesh, contracts)["virtual_hosts"][0]["routes"]:
        if "cluster" in route.get("route", {}) and route["name"].startswith(("/reelmesh.", "GET ", "POST ", "PUT ")):
            filters = route.get("typed_per_filter_config", {})
            buffer = filters.get("envoy.filters.http.buffer", {}).get("buffer", {}).get("max_request_bytes")
            rates = filters.get("envoy.filters.http.local_ratelimit", {}).get("descriptors")
            rate = rates[0]["token_bucket"]["tokens_per_fill"] if rates else None
            bounds.setdefault(route["route"]["cluster"], set()).add((buffer, rate))
    own = bounds.pop("telemetry")
    assert own == {(12 << 20, 2000), (None, 2000)}  # streams pass in pieces
    assert {pair for pairs in bounds.values() for pair in pairs} == {(None, None)}
