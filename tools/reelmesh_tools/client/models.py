"""`reelmesh recommend …`: the models that choose what viewers are shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Annotated, Any
from uuid import uuid4

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from reelmesh.recommend.v1 import model_service_pb2 as pb
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS, Platform, problem_of

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Model = Annotated[str, typer.Argument(help="A model's name or id; the running one when left out.")]
EVALUATE_SECONDS = 120.0
LOOK_SECONDS = 0.5
"""Seconds between two looks at a model that is being trained."""
AWAY_SECONDS = 60.0
"""The platform may be away for so long while a model is waited for."""


def register(app: typer.Typer) -> None:
    """Add `recommend` to `app`."""
    group = typer.Typer(help="Train, judge and run what chooses for viewers.", no_args_is_help=True)
    group.command()(train)
    group.command(name="models")(list_all)
    group.command()(evaluate)
    group.command()(rollback)
    group.command()(audit)
    app.add_typer(group, name="recommend")


def train(
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is done; 1 where it may not run.")] = False,
    as_json: _Json = False,
) -> None:
    """Begin a model. It runs by itself if it is no worse than the one that runs."""
    with connected(as_json=as_json) as platform:
        request = pb.TrainModelRequest(parent=platform.parent, request_id=str(uuid4()))
        model = platform.models.TrainModel(request, timeout=CALL_SECONDS).model
        if wait:
            with Console(stderr=True, quiet=as_json).status("training"):
                model = _done(platform, model)
    _tell(model, as_json=as_json)
    if model.state in (pb.Model.STATE_REFUSED, pb.Model.STATE_FAILED):
        raise typer.Exit(1)


def list_all(as_json: _Json = False) -> None:
    """List the organization's models, latest first."""
    with connected(as_json=as_json) as platform:
        found = list(_models(platform))
    if as_json:
        typer.echo(json.dumps({"models": [_dict(model) for model in found]}, indent=2))
        return
    table = Table("model", "state", "made", "viewers", "titles", "recall", "NDCG", "coverage", "why not")
    for model in found:
        als = next((each for each in model.evaluation.scores if each.name == "als"), None)
        figures = (f"{als.recall:.4f}", f"{als.ndcg:.4f}", f"{als.coverage:.3f}") if als else ("", "", "")
        table.add_row(
            _id(model),
            _state(model),
            model.create_time.ToJsonString(),
            f"{model.data.viewers:,}",
            f"{model.data.titles:,}",
            *figures,
            model.reason,
        )
    Console().print(table)


def evaluate(model: _Model = "", as_json: _Json = False) -> None:
    """Judge a model by the viewings since it was trained, beside what is most popular and the one that runs."""
    with connected(as_json=as_json) as platform:
        name = _named(platform, model, as_json=as_json)
        found = platform.models.EvaluateModel(pb.EvaluateModelRequest(name=name), timeout=EVALUATE_SECONDS).evaluation
    if as_json:
        typer.echo(json.dumps({"model": name, "evaluation": _dict(found)}, indent=2))
    else:
        Console().print(_scores(found))


def rollback(
    model: Annotated[str, typer.Argument(help="A model's name or id; the one that ran before when left out.")] = "",
    as_json: _Json = False,
) -> None:
    """Run the model that ran before, or another one."""
    with connected(as_json=as_json) as platform:
        request = pb.RollbackModelRequest(parent=platform.parent, model=_name(platform, model) if model else "")
        found = platform.models.RollbackModel(request, timeout=CALL_SECONDS).model
    _tell(found, as_json=as_json)


def audit(
    viewer: Annotated[str, typer.Option(help='What playback calls them, such as "users/{user}" of who signed in.')],
    model: _Model = "",
    as_json: _Json = False,
) -> None:
    """Tell whether a model learned from what a viewer watched, by the list that is kept beside it."""
    with connected(as_json=as_json) as platform:
        name = _named(platform, model, as_json=as_json)
        found = platform.models.AuditViewer(pb.AuditViewerRequest(name=name, viewer=viewer), timeout=CALL_SECONDS)
    if as_json:
        typer.echo(json.dumps({"model": name, "present": found.present, "viewers": found.viewers}, indent=2))
    else:
        learned = "learned" if found.present else "learned nothing"
        typer.echo(f"{name} {learned} from this viewer; it learned from {found.viewers:,}.")


def _models(platform: Platform) -> Iterable[pb.Model]:
    token = ""
    while True:
        request = pb.ListModelsRequest(parent=platform.parent, page_token=token)
        page = platform.models.ListModels(request, timeout=CALL_SECONDS)
        yield from page.models
        token = page.next_page_token
        if not token:
            return


def _done(platform: Platform, model: pb.Model) -> pb.Model:
    """Return a model when it is no longer being trained, also over a platform that goes away for a while."""
    answered = time.monotonic()
    while model.state == pb.Model.STATE_TRAINING:
        time.sleep(LOOK_SECONDS)  # the contract has no watch: a model takes minutes, and is made once a day
        try:
            model = platform.models.GetModel(pb.GetModelRequest(name=model.name), timeout=CALL_SECONDS).model
            answered = time.monotonic()
        except grpc.RpcError as error:
            if not problem_of(error).passing or time.monotonic() - answered > AWAY_SECONDS:
                raise
    return model


def _named(platform: Platform, model: str, *, as_json: bool) -> str:
    """Return the name of a model, or of the one that runs."""
    if model:
        return _name(platform, model)
    running = next((each for each in _models(platform) if each.state == pb.Model.STATE_RUNNING), None)
    if running is None:
        message = "no model runs: begin one with `reelmesh recommend train`"
        if as_json:
            typer.echo(json.dumps({"error": {"reason": "NO_MODEL", "message": message}}, indent=2))
        else:
            typer.echo(f"NO_MODEL: {message}", err=True)
        raise typer.Exit(1)
    return running.name


def _name(platform: Platform, model: str) -> str:
    return model if "/" in model else f"{platform.parent}/models/{model}"


def _id(model: pb.Model) -> str:
    return model.name.rpartition("/")[2]


def _state(model: pb.Model) -> str:
    return pb.Model.State.Name(model.state).removeprefix("STATE_").lower()


def _tell(model: pb.Model, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"model": _dict(model)}, indent=2))
        return
    console = Console()
    console.print(f"{_id(model)} {_state(model)} {model.reason} {model.message}".rstrip())
    if model.HasField("evaluation"):
        console.print(_scores(model.evaluation))


def _scores(evaluation: pb.Evaluation) -> Table:
    title = f"{evaluation.viewers:,} viewers, the first {evaluation.cutoff}"
    table = Table("way", "recall", "NDCG", "coverage", "popularity bias", title=title)
    for each in evaluation.scores:
        figures = (each.recall, each.ndcg, each.coverage, each.popularity_bias)
        table.add_row(each.name, *(f"{figure:.4f}" for figure in figures))
    return table


def _dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found
