"""Alerts and the rows that they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Insert, Select, func, literal, select

from reelmesh.analytics.functions import fixed
from reelmesh.analytics.reading import latest
from reelmesh.analytics.schema import ALERTS
from reelmesh.analytics.v1.alert_pb2 import Alert
from reelmesh.analytics.v1.report_pb2 import Dimension, Metric
from reelmesh.mesh.clock import derived_id
from reelmesh.mesh.names import ResourceName

BODY = func.hex(ALERTS.c.body)
"""What `alert_of` reads."""


class AlertName(ResourceName):
    """Name of an alert."""

    __slots__ = ()
    collection = "alerts"


@dataclass(frozen=True, slots=True)
class Key:
    """What an alert is about."""

    organization: str
    metric: Metric.ValueType
    dimension: Dimension.ValueType
    """Unspecified for all of the organization."""
    value: str


def key_of(alert: Alert) -> Key:
    """Return what an alert is about."""
    return Key(AlertName.parse(alert.name).organization, alert.metric, alert.dimension, alert.value)


def name_of(key: Key, start: datetime) -> AlertName:
    """Return the name of the alert about something that began at a time, always the same."""
    base = str(uuid.UUID(int=int(start.timestamp() * 1000) << 80))
    return AlertName(key.organization, derived_id(base, repr((key.organization, key.metric, key.dimension, key.value))))


def alert_of(body: str) -> Alert:
    """Read an alert from BODY."""
    return Alert.FromString(bytes.fromhex(body))


def insertion(alert: Alert, version: int) -> Insert:
    """Return the statement that writes an alert in place of its earlier versions."""
    name = AlertName.parse(alert.name)
    end = alert.end_time.ToMilliseconds() if alert.HasField("end_time") else 0
    row = select(
        literal(name.organization),
        fixed(uuid.UUID(name.id).hex),
        func.fromUnixTimestamp64Milli(func.toInt64(alert.start_time.ToMilliseconds()), "UTC"),
        func.fromUnixTimestamp64Milli(func.toInt64(end), "UTC"),
        func.unhex(alert.SerializeToString(deterministic=True).hex()),
        func.toUInt64(version),
    )
    return ALERTS.insert().from_select([column.name for column in ALERTS.columns], row)


def open_ones() -> Select[tuple[str]]:
    """Return the query for BODY of all alerts that go on, of all organizations."""
    return latest(select(BODY).where(func.toUnixTimestamp64Milli(ALERTS.c.end_time) == 0))


def opened(key: Key, start: datetime) -> Alert:
    """Begin an alert about something; its evidence is still to be put in."""
    alert = Alert(name=str(name_of(key, start)), metric=key.metric, dimension=key.dimension, value=key.value)
    alert.start_time.FromDatetime(start)
    return alert


def ended(alert: Alert, end: datetime) -> Alert:
    """Return an alert that is over since a time, which is not before it began."""
    over = Alert()
    over.CopyFrom(alert)
    over.end_time.FromDatetime(max(end, alert.start_time.ToDatetime(UTC)))
    return over
