"""Builds recommend from what is real."""

from __future__ import annotations

from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Service, Target
from reelmesh.recommend.artefacts import Artefacts
from reelmesh.recommend.model_service import ModelService
from reelmesh.recommend.model_store import CassandraModelStore
from reelmesh.recommend.models import Models
from reelmesh.recommend.running import Running
from reelmesh.recommend.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from reelmesh.stores.bundle import Stores
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "recommend", config.cassandra.replication)
    shelves, artefacts = CassandraModelStore(cassandra), Artefacts(stores.models())
    running = Running(shelves, artefacts)
    models = Models(shelves, stores.clock, stores.ids, running.wake)
    return Target(
        name="recommend",
        services=[
            Service(
                "reelmesh.recommend.v1.ModelService",
                lambda server: add_ModelServiceServicer_to_server(ModelService(models), server),
            ),
        ],
        background=[running],
        checks=[cassandra.ping],
    )
