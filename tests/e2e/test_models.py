"""Models of a running platform: titles in its catalog, viewings on Kafka, and all of it by the command line."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from e2e_world import eventually, refused

from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.catalog.v1.title_service_pb2 import CreateTitleRequest
from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceStub
from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import CreateVideoRequest
from reelmesh.mesh.config import Config
from reelmesh.mesh.pseudonyms import Pseudonyms
from reelmesh.recommend.v1 import model_service_pb2 as pb
from reelmesh.stores.events import TELEMETRY, Publisher, Record
from reelmesh.telemetry.v1 import event_pb2 as events
from reelmesh.telemetry.v1.record_pb2 import TelemetryRecord
from reelmesh_tools.bench.taste import Size, Taste, taste
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]

PARENT = "organizations/default"
MODEL = f"{PARENT}/models/{uuid.UUID(int=1)}"
COMPRESSED = 12
"""What was a year is a month: a day is a partition of events."""


def library(platform: Platform, titles: int) -> list[str]:
    """Make films with videos; return the ids of the videos."""
    stub, videos = TitleServiceStub(platform.channel), []
    for number in range(titles):
        video = platform.videos.CreateVideo(
            CreateVideoRequest(parent=PARENT, video=Video(title=f"film {number}")), timeout=CALL_SECONDS
        ).video
        title = Title(
            kind=Title.KIND_FILM,
            video=video.name,
            original_language="en",
            localizations=[Localization(language="en", title=f"film {number}")],
            state=Title.STATE_PUBLISHED,
        )
        stub.CreateTitle(CreateTitleRequest(parent=PARENT, title=title), timeout=CALL_SECONDS)
        videos.append(video.name.rpartition("/")[2])
    return videos


def records(made: Taste, videos: list[str], pseudonyms: Pseudonyms, end: int) -> Iterator[Record]:
    columns = zip(made.viewer, made.title, made.seconds, made.time_ms, strict=True)
    for viewer, title, seconds, year in columns:
        begun = int(end - (end - year) // COMPRESSED)
        session = uuid.UUID(int=begun << 80 | 7 << 76 | 2 << 62 | uuid.uuid4().int & (1 << 62) - 1)
        record = TelemetryRecord(
            received_time_ms=begun,
            organization="default",
            video=videos[title],
            session=session.bytes,
            viewer=pseudonyms.of("default", f"fan-{viewer}"),
            weight=1,
            source=TelemetryRecord.SOURCE_REPORT,
        )
        watched = int(seconds * 1000)
        record.events.append(
            events.TelemetryEvent(
                event_id=session.bytes,
                event_time_ms=begun,
                type=events.EVENT_TYPE_REQUESTED,
                watch_ms=watched,
                watch_total_ms=watched,
            )
        )
        yield Record(TELEMETRY, str(session), record.SerializeToString())


@pytest.fixture(scope="module")
def audience(stack: Stack, config: Config, reelmesh: Callable[..., dict[str, Any]]) -> Taste:
    """A library, and viewings of it that are in the warehouse."""
    end = int(time.time() * 1000) - 3_600_000
    made = taste(Size(viewers=150, titles=120, interactions=4000, clusters=6), seed=2, end_ms=end)
    with Platform.of_stack(stack.layout, stack.plan.gateway_url) as platform:
        videos = library(platform, made.size.titles)
    sent = list(records(made, videos, Pseudonyms.load(config.telemetry.viewer_key), end))
    asyncio.run(published(config, sent))

    theirs = {f"{PARENT}/videos/{video}" for video in videos}

    def arrived() -> bool:
        asked = ("--metric", "views", "--group-by", "video", "--limit", "10000", "--since", "60d")
        rows = reelmesh("analytics", "report", *asked)["rows"]
        return sum(int(row["views"]) for row in rows if row["video"] in theirs) >= len(sent)

    eventually(arrived, "the viewings are counted")
    return made


async def published(config: Config, sent: Sequence[Record]) -> None:
    publisher = Publisher(config.kafka, "test-models")
    try:
        for start in range(0, len(sent), 500):
            await publisher.publish(*sent[start : start + 500])
    finally:
        await publisher.close()


def trained(platform: Platform) -> pb.Model:
    """Train a model, after one that the schedule may have begun."""

    def begun() -> pb.Model | None:
        try:
            return platform.models.TrainModel(pb.TrainModelRequest(parent=PARENT), timeout=CALL_SECONDS).model
        except grpc.RpcError as error:
            if problem_of(error).reason != "TRAINING_UNDER_WAY":
                raise
            return None

    name = eventually(begun, "a model is begun").name

    def ended() -> pb.Model | None:
        model = platform.models.GetModel(pb.GetModelRequest(name=name), timeout=CALL_SECONDS).model
        return None if model.state == pb.Model.STATE_TRAINING else model

    return eventually(ended, "the model is made")


def test_what_there_is_not_is_said_so(platform: Platform, nobody: Platform) -> None:
    unknown: list[Callable[[], object]] = [
        lambda: platform.models.GetModel(pb.GetModelRequest(name=MODEL), timeout=CALL_SECONDS),
        lambda: platform.models.EvaluateModel(pb.EvaluateModelRequest(name=MODEL), timeout=CALL_SECONDS),
        lambda: platform.models.AuditViewer(pb.AuditViewerRequest(name=MODEL, viewer="v"), timeout=CALL_SECONDS),
        lambda: platform.models.RollbackModel(
            pb.RollbackModelRequest(parent=PARENT, model=MODEL), timeout=CALL_SECONDS
        ),
    ]
    assert {refused(call).reason for call in unknown} == {"MODEL_UNKNOWN"}
    no_page = pb.ListModelsRequest(parent=PARENT, page_token="=")  # noqa: S106 - no password
    assert refused(lambda: platform.models.ListModels(no_page, timeout=CALL_SECONDS)).reason == "PAGE_TOKEN_INVALID"
    train = refused(lambda: nobody.models.TrainModel(pb.TrainModelRequest(parent=PARENT), timeout=CALL_SECONDS))
    assert train.code is grpc.StatusCode.UNAUTHENTICATED


def test_models_are_made_looked_at_gone_back_from_and_forget(
    platform: Platform, reelmesh: Callable[..., dict[str, Any]], audience: Taste
) -> None:
    first = trained(platform)
    assert first.state == pb.Model.STATE_RUNNING, first
    assert first.data.titles > 100
    assert first.data.viewers > 120
    fans = [f"fan-{viewer}" for viewer in (3, 4)]
    for fan in fans:
        told = reelmesh("recommend", "audit", "--viewer", fan)
        assert told == {"model": first.name, "present": True, "viewers": first.data.viewers}
    assert reelmesh("analytics", "erase-viewer", fans[0], "--yes")["events"] > 0
    second = reelmesh("recommend", "train", "--wait")["model"]
    assert second["state"] == "STATE_RUNNING"
    assert int(second["data"]["viewers"]) == first.data.viewers - 1
    assert [score["name"] for score in second["evaluation"]["scores"]][-1] == "running"
    assert not reelmesh("recommend", "audit", "--viewer", fans[0])["present"]
    assert reelmesh("recommend", "audit", "--viewer", fans[1])["present"]
    gone = reelmesh("recommend", "audit", first.name, "--viewer", fans[1], code=1)
    assert gone["error"]["reason"] == "VIEWERS_REMOVED"
    judged = reelmesh("recommend", "evaluate")
    assert judged["model"] == second["name"]
    # Nothing was watched since: it is judged as it was before it ran.
    assert judged["evaluation"]["viewers"] == second["evaluation"]["viewers"]
    recalls = [each["evaluation"]["scores"][0]["recall"] for each in (judged, second)]
    assert recalls[0] == pytest.approx(recalls[1], abs=0.02)  # its viewings are a little older now
    assert reelmesh("recommend", "rollback")["model"]["name"] == first.name
    listed = reelmesh("recommend", "models")["models"]
    assert [model["name"] for model in listed[:2]] == [second["name"], first.name]
    assert [model["state"] for model in listed[:2]] == ["STATE_READY", "STATE_RUNNING"]
    assert reelmesh("recommend", "rollback", second["name"])["model"]["state"] == "STATE_RUNNING"
    # The one that ran before is held against the one that runs.
    earlier = reelmesh("recommend", "evaluate", first.name)["evaluation"]["scores"]
    assert earlier[0]["name"] == "als"


def test_no_log_names_a_viewer_whom_a_model_learned_from(stack: Stack, audience: Taste, config: Config) -> None:
    pseudonyms = Pseudonyms.load(config.telemetry.viewer_key)
    told = "\n".join(path.read_text() for path in stack.layout.logs.glob("recommend*"))
    assert "is being trained" in told
    for viewer in range(audience.size.viewers):
        assert f'fan-{viewer}"' not in told
        assert pseudonyms.of("default", f"fan-{viewer}").hex() not in told
