"""Experiments on Cassandra, and exposures on Kafka. See schema.cql for the shape and why it is so."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from reelmesh.analytics.experiment_messages import arms_from_proto, arms_to_proto, exposure_to_proto
from reelmesh.analytics.experiments import Experiment, ExperimentName, Exposure
from reelmesh.analytics.v1 import experiment_pb2 as pb
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.events import EXPOSURES, Publisher, Record
from reelmesh.stores.migrations import keyspace_of

_KS = keyspace_of("analytics")
_THIS = "WHERE organization = ? AND experiment = ?"


class CassandraExperimentStore:
    """Experiments in the keyspace of analytics."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def load(self, name: ExperimentName) -> Experiment | None:
        """Return an experiment; None when there is none."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.experiments {_THIS}", name.organization, name.id)
        return _experiment(rows[0]) if rows else None

    async def list(self, organization: str) -> Sequence[Experiment]:
        """Return the experiments of an organization by name."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.experiments WHERE organization = ?", organization)
        return [_experiment(row) for row in rows]

    async def add(self, experiment: Experiment) -> bool:
        """Keep an experiment; False when there is one of that name."""
        insert = Statement(
            f"INSERT INTO {_KS}.experiments (organization, experiment, display_name, arms, traffic, create_time) "
            "VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS",
            (
                experiment.name.organization,
                experiment.name.id,
                experiment.display_name,
                arms_to_proto(experiment.arms).SerializeToString(deterministic=True),
                experiment.traffic,
                experiment.create_time,
            ),
        )
        return await self._cassandra.apply(insert) is None

    async def grow(self, name: ExperimentName, traffic: float) -> bool:
        """Raise the traffic of an experiment that runs; False where it has more, or does not run."""
        update = Statement(
            f"UPDATE {_KS}.experiments SET traffic = ? {_THIS} IF traffic < ? AND end_time = null",
            (traffic, name.organization, name.id, traffic),
        )
        return await self._cassandra.apply(update) is None

    async def end(self, name: ExperimentName, time: datetime) -> bool:
        """End an experiment that there is; False when it has ended."""
        update = Statement(
            f"UPDATE {_KS}.experiments SET end_time = ? {_THIS} IF end_time = null",
            (time, name.organization, name.id),
        )
        return await self._cassandra.apply(update) is None


class KafkaExposureLog:
    """Exposures on Kafka, keyed by session."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def write(self, exposures: Sequence[Exposure]) -> None:
        """Return when they are on Kafka. Raises Unavailable."""
        await self._publisher.publish(
            *(
                Record(EXPOSURES, str(uuid.UUID(each.session.id)), exposure_to_proto(each).SerializeToString())
                for each in exposures
            )
        )


def _experiment(row: Row) -> Experiment:
    return Experiment(
        ExperimentName(row.organization, row.experiment),
        row.display_name,
        arms_from_proto(pb.Experiment.FromString(row.arms).arms),
        row.traffic,
        row.create_time.replace(tzinfo=UTC),
        row.end_time.replace(tzinfo=UTC) if row.end_time else None,
    )
