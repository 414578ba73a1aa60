"""Models between the contract and the domain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from reelmesh.recommend.model import Data, Evaluation, Model, Score, Shelf, State
from reelmesh.recommend.v1 import model_service_pb2 as pb

_STATES = {
    State.TRAINING: pb.Model.STATE_TRAINING,
    State.READY: pb.Model.STATE_READY,
    State.REFUSED: pb.Model.STATE_REFUSED,
    State.FAILED: pb.Model.STATE_FAILED,
}


def model_to_proto(model: Model, shelf: Shelf) -> pb.Model:
    """Write a model as the contract does."""
    message = pb.Model(
        name=str(model.name),
        state=pb.Model.STATE_RUNNING if shelf.runs(model) else _STATES[model.state],
        reason=model.reason,
        message=model.message,
        create_time=_stamp(model.create_time),
    )
    if model.end_time is not None:
        message.end_time.CopyFrom(_stamp(model.end_time))
    if model.run_time is not None:
        message.run_time.CopyFrom(_stamp(model.run_time))
    if model.data is not None:
        message.data.CopyFrom(data_to_proto(model.data))
    if model.evaluation is not None:
        message.evaluation.CopyFrom(evaluation_to_proto(model.evaluation))
    return message


def data_to_proto(data: Data) -> pb.Model.Data:
    """Write what a model learned from."""
    message = pb.Model.Data(
        viewers=data.viewers,
        titles=data.titles,
        interactions=data.interactions,
        start_time=_stamp(data.start_time),
        split_time=_stamp(data.split_time),
        end_time=_stamp(data.end_time),
    )
    message.training_time.FromTimedelta(timedelta(seconds=data.training_seconds))
    return message


def data_from_proto(message: pb.Model.Data) -> Data:
    """Read what a model learned from."""
    return Data(
        viewers=message.viewers,
        titles=message.titles,
        interactions=message.interactions,
        start_time=_time(message.start_time),
        split_time=_time(message.split_time),
        end_time=_time(message.end_time),
        training_seconds=message.training_time.ToTimedelta().total_seconds(),
    )


def evaluation_to_proto(evaluation: Evaluation) -> pb.Evaluation:
    """Write how good choices are."""
    scores = [
        pb.Evaluation.Score(
            name=each.name,
            recall=each.recall,
            ndcg=each.ndcg,
            coverage=each.coverage,
            popularity_bias=each.popularity_bias,
        )
        for each in evaluation.scores
    ]
    return pb.Evaluation(viewers=evaluation.viewers, cutoff=evaluation.cutoff, scores=scores)


def evaluation_from_proto(message: pb.Evaluation) -> Evaluation:
    """Read how good choices are."""
    scores = [Score(each.name, each.recall, each.ndcg, each.coverage, each.popularity_bias) for each in message.scores]
    return Evaluation(message.viewers, message.cutoff, scores)


def _stamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
