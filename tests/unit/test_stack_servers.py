from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from reelmesh_tools.stack import assembly, configuration, jvm, logs, plan
from reelmesh_tools.stack.client import StackError
from reelmesh_tools.stack.layout import Layout, repository
from reelmesh_tools.stack.spec import Stage


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "home with space")
    made.create()
    return made


@pytest.fixture
def planned(layout: Layout) -> plan.Plan:
    return plan.make(layout.stack_file, {"REELMESH_PORT": "18998"}, None, random.SystemRandom())


def test_everything_is_assembled_with_services_stopped_first(layout: Layout, planned: plan.Plan) -> None:
    specs = assembly.specs(layout, planned, repository(), {})
    assert tuple(spec.name for spec in specs) == plan.USUAL
    stages = {spec.name: spec.stage for spec in specs}
    assert stages["cassandra"] is stages["kafka"] is Stage.STORE
    assert stages["control"] < stages["envoy"] < stages["cassandra"]
    known: set[str] = set()
    for spec in specs:
        assert set(spec.needs) <= known
        known.add(spec.name)


def test_nothing_listens_beyond_loopback(layout: Layout, planned: plan.Plan) -> None:
    assembly.specs(layout, planned, repository(), {})
    cassandra = yaml.safe_load((layout.config / "cassandra.yaml").read_text())
    assert cassandra["listen_address"] == cassandra["rpc_address"] == "127.0.0.1"
    assert cassandra["native_transport_port"] == planned.ports["cassandra"]
    kafka = dict(
        line.split("=", 1)
        for line in (layout.config / "kafka.properties").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert kafka["advertised.listeners"] == f"PLAINTEXT://{planned.kafka}"
    assert kafka["listeners"].count("127.0.0.1") == 2
    assert kafka["auto.create.topics.enable"] == "false"
    least, default, most = (int(kafka[f"group.share.{name}record.lock.duration.ms"]) for name in ("min.", "", "max."))
    assert least <= default <= most == 600_000
    assert "bind 127.0.0.1" in (layout.config / "Caddyfile").read_text()


def test_the_services_file_names_every_store_and_service(layout: Layout, planned: plan.Plan) -> None:
    configuration.write(layout, planned)
    content = yaml.safe_load(layout.services_file.read_text())
    assert content["environment"] == "local"
    assert content["cassandra"]["port"] == planned.ports["cassandra"]
    assert content["kafka"] == {"bootstrap_servers": planned.kafka, "partitions": 2}
    assert content["objects"]["media"].startswith("file:///")
    assert set(content["services"]) == {
        "ingest",
        "transcode",
        "catalog",
        "playback",
        "identity",
        "drm",
        "billing",
        "telemetry",
        "analytics",
        "recommend",
        "discovery",
    }
    assert content["worker"] == {"scratch": str(layout.scratch)}


def test_a_second_replica_has_an_address_and_a_place_of_its_own(layout: Layout) -> None:
    wanted = [*plan.USUAL, "discovery-2"]
    both = plan.make(layout.stack_file, {"REELMESH_PORT": "18998"}, wanted, random.SystemRandom())
    addresses = both.service_addresses["discovery"]
    assert addresses == [both.address("discovery"), both.address("discovery-2")]
    assert len(set(addresses)) == 2
    specs = {spec.name: spec for spec in assembly.specs(layout, both, repository(), {})}
    assert "--replica" not in specs["discovery"].command
    assert specs["discovery-2"].command[-3:] == ("--replica", "2", "discovery")


def test_java_comes_with_the_wheel_unless_java_home_is_set(tmp_path: Path) -> None:
    assert jvm.java({}).exists()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    (tmp_path / "release").write_text('JAVA_VERSION="17.0.12"\n')
    assert jvm.java({"JAVA_HOME": str(tmp_path)}) == tmp_path / "bin" / "java"
    (tmp_path / "release").write_text('JAVA_VERSION="25.0.1"\n')
    with pytest.raises(jvm.JavaError, match="not Java 17"):
        jvm.java({"JAVA_HOME": str(tmp_path)})


def test_the_last_lines_of_each_log_are_marked_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "kafka.log").write_text("one\ntwo\nthree\n")
    (tmp_path / "caddy.log").write_text("four\n")
    shown: list[str] = []
    logs.show(logs.files(tmp_path, None), 2, shown.append, follow=False)
    assert shown == ["caddy      four", "kafka      two", "kafka      three"]
    shown.clear()
    logs.show(logs.files(tmp_path, "kafka"), 1, shown.append, follow=False)
    assert shown == ["three"]
    with pytest.raises(StackError, match="no log of envoy"):
        logs.files(tmp_path, "envoy")
