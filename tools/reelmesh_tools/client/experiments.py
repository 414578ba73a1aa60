"""`reelmesh experiments …`: try things on some viewings, and see what comes of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from reelmesh.analytics.v1 import experiment_service_pb2 as pb
from reelmesh.analytics.v1 import report_pb2
from reelmesh.analytics.v1.experiment_pb2 import Experiment, ExperimentResults
from reelmesh_tools.client import asking
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS, Platform

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Name = Annotated[str, typer.Argument(help="The experiment's name.")]
_ARM = re.compile(r"(?P<id>[a-z0-9-]{1,63})(\*(?P<weight>\d{1,4}))?(:(?P<parameters>.+))?", re.DOTALL)
_RESULTS_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    """Add `experiments` to `app`."""
    group = typer.Typer(help="Try things on some viewings, and see what comes of it.", no_args_is_help=True)
    group.command()(create)
    group.command(name="list")(list_all)
    group.command()(get)
    group.command()(end)
    group.command()(results)
    app.add_typer(group, name="experiments")


def create(
    name: Annotated[str, typer.Argument(help="Its name: lower case, digits and dashes.")],
    arm: Annotated[
        list[str],
        typer.Option(
            help='A way: "control", or with its weight and what players are told, "low*3:max_height=480,codec=avc"; '
            "repeat it. The others are held against the first."
        ),
    ],
    traffic: Annotated[float, typer.Option(min=0, max=1, help="Part of the viewers who take part.")] = 1.0,
    title: Annotated[str, typer.Option(help="What it is to find out.")] = "",
    as_json: _Json = False,
) -> None:
    """Begin an experiment, or give one that has the same arms more traffic."""
    if not traffic:
        raise typer.BadParameter("an experiment needs some traffic")
    arms = [arm_of(each) for each in arm]
    with connected(as_json=as_json) as platform:
        wanted = Experiment(name=_name(platform, name), display_name=title, arms=arms, traffic=traffic)
        request = pb.CreateExperimentRequest(experiment=wanted)
        made = platform.experiments.CreateExperiment(request, timeout=CALL_SECONDS).experiment
    _tell([made], as_json=as_json)


def list_all(as_json: _Json = False) -> None:
    """List the organization's experiments."""
    with connected(as_json=as_json) as platform:
        request = pb.ListExperimentsRequest(parent=platform.parent)
        found = platform.experiments.ListExperiments(request, timeout=CALL_SECONDS).experiments
    _tell(found, as_json=as_json)


def get(name: _Name, as_json: _Json = False) -> None:
    """Show an experiment."""
    with connected(as_json=as_json) as platform:
        request = pb.GetExperimentRequest(name=_name(platform, name))
        found = platform.experiments.GetExperiment(request, timeout=CALL_SECONDS).experiment
    _tell([found], as_json=as_json)


def end(name: _Name, as_json: _Json = False) -> None:
    """End an experiment: viewings that begin from now on take no part."""
    with connected(as_json=as_json) as platform:
        request = pb.EndExperimentRequest(name=_name(platform, name))
        ended = platform.experiments.EndExperiment(request, timeout=CALL_SECONDS).experiment
    _tell([ended], as_json=as_json)


def results(name: _Name, as_json: _Json = False) -> None:
    """Show what an experiment has shown so far, with 95 % confidence intervals."""
    with connected(as_json=as_json) as platform:
        request = pb.GetExperimentResultsRequest(name=_name(platform, name))
        found = platform.experiments.GetExperimentResults(request, timeout=_RESULTS_SECONDS).results
    if as_json:
        typer.echo(json.dumps(_plain(_dict(found)), indent=2))
        return
    console = Console()
    if found.sample_ratio_mismatch:
        console.print(
            f"[bold red]Do not believe this:[/] so uneven arms come by chance with p = {found.sample_ratio_p:.2g}, and "
            f"{found.mixed_units} units are in several arms. Something is wrong with the assignment or the telemetry."
        )
    console.print(_table(found))


def arm_of(text: str) -> Experiment.Arm:
    """Read an arm: ID, ID*WEIGHT, each with :KEY=VALUE,… behind. Raises typer.BadParameter."""
    found = _ARM.fullmatch(text)
    pairs = [each.partition("=") for each in (found["parameters"] or "").split(",") if each] if found else []
    if found is None or not all(key and sign for key, sign, _ in pairs):
        raise typer.BadParameter(f"{text} is no arm; write control or low*3:max_height=480")
    return Experiment.Arm(
        id=found["id"], weight=int(found["weight"] or 1), parameters={key: value for key, _, value in pairs}
    )


def _table(found: ExperimentResults) -> Table:
    table = Table("metric", "arm", "units", "viewings", title=found.experiment.display_name or None)
    for column in ("value", "difference", "95 %", "p"):
        table.add_column(column, justify="right")
    metrics = [each.metric for each in found.arms[0].measures] if found.arms else []
    for metric in metrics:
        for place, arm in enumerate(found.arms):
            measure = next(each for each in arm.measures if each.metric == metric)
            told = (_shown(metric, measure.value), "", "", "")
            if place:
                interval = f"{_shown(metric, measure.difference_low)} … {_shown(metric, measure.difference_high)}"
                p_value = "" if math.isnan(measure.p_value) else f"{measure.p_value:.2g}"
                told = (told[0], _shown(metric, measure.difference), interval if p_value else "", p_value)
            name = "" if place else asking.name_of(metric, asking.METRICS)
            table.add_row(name, arm.arm, f"{arm.units:,}", f"{arm.exposures:,}", *told)
    return table


def _shown(metric: report_pb2.Metric.ValueType, value: float) -> str:
    # Per unit, which is a viewer: the same words as in reports would mean the sum.
    if metric == report_pb2.METRIC_VIEWS and not math.isnan(value):
        return f"{value:,.3f}"
    return asking.shown(metric, value)


def _name(platform: Platform, name: str) -> str:
    return name if "/" in name else f"{platform.parent}/experiments/{name}"


def _tell(found: Sequence[Experiment], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"experiments": [_dict(each) for each in found]}, indent=2))
        return
    table = Table("experiment", "what", "arms", "traffic", "began", "ended")
    for each in found:
        table.add_row(
            each.name.rpartition("/")[2],
            each.display_name,
            ", ".join(_arm(arm) for arm in each.arms),
            f"{each.traffic:.0%}",
            each.create_time.ToJsonString(),
            each.end_time.ToJsonString() if each.HasField("end_time") else "runs",
        )
    Console().print(table)


def _arm(arm: Experiment.Arm) -> str:
    weight = f"*{arm.weight}" if arm.weight > 1 else ""
    parameters = ",".join(f"{key}={value}" for key, value in sorted(arm.parameters.items()))
    return f"{arm.id}{weight}" + (f":{parameters}" if parameters else "")


def _dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return found


def _plain(value: Any) -> Any:
    """Return what JSON can say: no NaN."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if value in {"NaN", "Infinity", "-Infinity"} else value
