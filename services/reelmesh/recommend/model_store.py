"""Models on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from reelmesh.mesh.names import ModelName
from reelmesh.recommend.messages import data_from_proto, data_to_proto, evaluation_from_proto, evaluation_to_proto
from reelmesh.recommend.model import Head, Lease, Model, Shelf, State
from reelmesh.recommend.v1 import model_service_pb2 as pb
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.migrations import keyspace_of

_COLUMNS = (
    "state",
    "reason",
    "message",
    "request_id",
    "attempt",
    "create_time",
    "end_time",
    "run_time",
    "record",
    "checksum",
)


class CassandraModelStore:
    """Models in the keyspace of recommend."""

    def __init__(self, cassandra: Cassandra, keyspace: str = keyspace_of("recommend")) -> None:
        self._cassandra = cassandra
        self._table = f"{keyspace}.models"

    async def load(self, organization: str) -> Shelf:
        """Return an organization's models; an empty shelf where there are none. Raises Unavailable."""
        rows = await self._cassandra.execute(f"SELECT * FROM {self._table} WHERE organization = ?", organization)
        if not rows:
            return Shelf(organization)
        models = {row.model: _model(row) for row in rows if row.model is not None and row.state is not None}
        return Shelf(organization, models, rows[0].running or "", _lease(rows[0]), rows[0].revision or 0)

    async def save(self, before: Shelf, after: Shelf) -> bool:
        """Keep a shelf in place of what it was; False where another change came between. Raises Unavailable."""
        lease = after.lease
        held = (lease.model, lease.holder, lease.end) if lease else (None, None, None)
        head = Statement(
            f"UPDATE {self._table} SET revision = ?, running = ?, training = ?, holder = ?, lease_end = ? "
            "WHERE organization = ? IF revision = ?",
            (before.revision + 1, after.running or None, *held, after.organization, before.revision or None),
        )
        sets = ", ".join(f"{column} = ?" for column in _COLUMNS)
        changed = [
            Statement(
                f"UPDATE {self._table} SET {sets} WHERE organization = ? AND model = ?",
                (*_values(model), after.organization, id_),
            )
            for id_, model in after.models.items()
            if before.models.get(id_) != model
        ]
        removed = [
            Statement(f"DELETE FROM {self._table} WHERE organization = ? AND model = ?", (after.organization, id_))
            for id_ in before.models.keys() - after.models.keys()
        ]
        return await self._cassandra.apply(head, *changed, *removed) is None

    async def keep(self, organization: str, lease: Lease) -> bool:
        """Lengthen a lease; False where another holds it, or nobody. Raises Unavailable."""
        update = Statement(
            f"UPDATE {self._table} SET lease_end = ? WHERE organization = ? IF holder = ? AND training = ?",
            (lease.end, organization, lease.holder, lease.model),
        )
        return await self._cassandra.apply(update) is None

    async def heads(self) -> Sequence[Head]:
        """Return the heads of all shelves: a row for each organization. Raises Unavailable."""
        rows = await self._cassandra.execute(
            f"SELECT DISTINCT organization, running, training, holder, lease_end FROM {self._table}"
        )
        return [Head(row.organization, row.running or "", _lease(row)) for row in rows]


def _lease(row: Row) -> Lease | None:
    if row.training is None:
        return None
    return Lease(row.training, row.holder or "", _utc(row.lease_end) or datetime.fromtimestamp(0, UTC))


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None else None


def _values(model: Model) -> tuple[object, ...]:
    record = pb.Model()
    if model.data is not None:
        record.data.CopyFrom(data_to_proto(model.data))
    if model.evaluation is not None:
        record.evaluation.CopyFrom(evaluation_to_proto(model.evaluation))
    return (
        model.state.value,
        model.reason,
        model.message,
        model.request_id,
        model.attempt,
        model.create_time,
        model.end_time,
        model.run_time,
        record.SerializeToString(deterministic=True),
        model.checksum,
    )


def _model(row: Row) -> Model:
    record = pb.Model.FromString(row.record)
    created = _utc(row.create_time)
    if created is None:
        raise ValueError(f"model {row.model} has no time of its making")
    return Model(
        name=ModelName(row.organization, row.model),
        state=State(row.state),
        create_time=created,
        request_id=row.request_id or "",
        attempt=row.attempt or 0,
        reason=row.reason or "",
        message=row.message or "",
        end_time=_utc(row.end_time),
        run_time=_utc(row.run_time),
        data=data_from_proto(record.data) if record.HasField("data") else None,
        evaluation=evaluation_from_proto(record.evaluation) if record.HasField("evaluation") else None,
        checksum=row.checksum or "",
    )
