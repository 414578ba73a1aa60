"""Cassandra as a child JVM: the store of all metadata."""

from __future__ import annotations

from typing import Any

import yaml

from reelmesh_tools.stack import probes
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.jvm import JvmServer
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import Plan
from reelmesh_tools.stack.spec import ProcessSpec, Stage


def spec(layout: Layout, plan: Plan, server: JvmServer) -> ProcessSpec:
    """Render cassandra.yaml and return how to run the node."""
    data = layout.data("cassandra")
    config = layout.config / "cassandra.yaml"
    data.mkdir(parents=True, exist_ok=True)
    write_whole(config, render((server.folder / "cassandra.yaml").read_text(encoding="utf-8"), layout, plan))
    launcher = server.launcher(layout.config / "cassandra.args")
    options = (
        f"-javaagent:{server.jar('jamm')}",
        f"-Dcassandra.config={config.as_uri()}",
        f"-Dcassandra.storagedir={data}",
        f"-Dcassandra.logdir={layout.logs}",
        f"-Djava.io.tmpdir={_temporary(layout)}",
    )
    return ProcessSpec(
        name="cassandra",
        command=(*launcher, *options, "org.apache.cassandra.service.CassandraDaemon"),
        probe=probes.cql_answers(plan.ports["cassandra"]),
        stage=Stage.STORE,
        # One arena per thread would keep tens of megabytes of a mostly idle process.
        environment={"MALLOC_ARENA_MAX": "2"},
        stop_seconds=20.0,
    )


def render(template: str, layout: Layout, plan: Plan) -> str:
    """Return `template`, a cassandra.yaml, with this stack's ports and folders added."""
    settings: dict[str, Any] = yaml.safe_load(template)
    data = layout.data("cassandra")
    storage_port = plan.ports["cassandra-storage"]
    settings |= {
        "native_transport_port": plan.ports["cassandra"],
        "storage_port": storage_port,
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"127.0.0.1:{storage_port}"}],
            }
        ],
        "data_file_directories": [str(data / "data")],
        "commitlog_directory": str(data / "commitlog"),
        "saved_caches_directory": str(data / "saved_caches"),
        "hints_directory": str(data / "hints"),
        "cdc_raw_directory": str(data / "cdc_raw"),
    }
    return yaml.safe_dump(settings, sort_keys=False)


def _temporary(layout: Layout) -> str:
    """Return a folder for the native libraries that Java unpacks, which would otherwise pile up in /tmp."""
    folder = layout.run / "cassandra-tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
