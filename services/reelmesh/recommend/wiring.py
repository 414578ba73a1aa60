"""Builds recommend from what is real."""

from __future__ import annotations

from reelmesh.mesh.config import Config
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.mesh.server import Target
from reelmesh.mesh.settings import SettingError
from reelmesh.recommend.model_wiring import modelling
from reelmesh.recommend.viewer_wiring import choosing, knowledge
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import IDENTITY_EVENTS, TITLES, ensure_topics
from reelmesh.stores.migrations import migrate


async def build(config: Config, stores: Stores) -> Target:
    """Raises Unavailable while a store does not answer, and SettingError."""
    cassandra = await stores.cassandra()
    await migrate(cassandra, "recommend", config.cassandra.replication)
    await ensure_topics(stores.kafka, dict.fromkeys((TITLES, IDENTITY_EVENTS), stores.kafka.partitions))
    named = pseudonyms(config)
    known = knowledge(stores, cassandra, named)
    opted_out = known.personalization.opted_out
    models = modelling(config, stores, cassandra, named, known.library, known.following, opted_out)
    viewers = choosing(config, stores, known, models.running)
    return Target(
        name="recommend",
        services=[models.service, viewers.service],
        background=[known.following, *models.background, *viewers.background],
        checks=[cassandra.ping, known.following.check],
    )


def pseudonyms(config: Config) -> Pseudonyms:
    """Return what names viewers here as in the warehouse. Raises SettingError."""
    try:
        return Pseudonyms.load(config.telemetry.viewer_key)
    except (OSError, ValueError) as error:
        raise SettingError(f"telemetry.viewer_key: {error}") from error
