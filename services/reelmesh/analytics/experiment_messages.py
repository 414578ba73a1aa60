"""Experiments as the contracts write them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from reelmesh.analytics.experiments import Arm, Experiment, Exposure
from reelmesh.analytics.v1 import experiment_pb2 as pb


def arms_from_proto(arms: Iterable[pb.Experiment.Arm]) -> tuple[Arm, ...]:
    """Read arms; a weight that is not said is 1."""
    return tuple(Arm(each.id, each.weight or 1, dict(each.parameters)) for each in arms)


def arms_to_proto(arms: Iterable[Arm]) -> pb.Experiment:
    """Write arms into an experiment that has nothing else."""
    message = pb.Experiment()
    for arm in arms:
        message.arms.add(id=arm.id, weight=arm.weight, parameters=arm.parameters)
    return message


def experiment_to_proto(experiment: Experiment) -> pb.Experiment:
    """Write an experiment."""
    message = arms_to_proto(experiment.arms)
    message.name = str(experiment.name)
    message.display_name = experiment.display_name
    message.traffic = experiment.traffic
    message.state = pb.Experiment.STATE_RUNNING if experiment.end_time is None else pb.Experiment.STATE_ENDED
    message.create_time.FromDatetime(experiment.create_time)
    if experiment.end_time is not None:
        message.end_time.FromDatetime(experiment.end_time)
    return message


def exposure_to_proto(exposure: Exposure) -> pb.ExposureRecord:
    """Write an exposure as it goes on Kafka."""
    return pb.ExposureRecord(
        time_ms=exposure.time_ms,
        organization=exposure.session.organization,
        session=uuid.UUID(exposure.session.id).bytes,
        unit=exposure.unit,
        experiment=exposure.experiment,
        arm=exposure.arm.id,
    )
