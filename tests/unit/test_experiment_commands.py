from __future__ import annotations

import pytest
import typer

from reelmesh.analytics.v1.experiment_pb2 import Experiment
from reelmesh_tools.client.experiments import _arm, arm_of


@pytest.mark.parametrize(
    ("text", "arm"),
    [
        ("control", Experiment.Arm(id="control", weight=1)),
        ("low*3", Experiment.Arm(id="low", weight=3)),
        ("low*3:h=480,x=a=b", Experiment.Arm(id="low", weight=3, parameters={"h": "480", "x": "a=b"})),
        ("low:empty=", Experiment.Arm(id="low", weight=1, parameters={"empty": ""})),
    ],
)
def test_arms_are_read_as_they_are_written(text: str, arm: Experiment.Arm) -> None:
    assert arm_of(text) == arm
    assert _arm(arm) == text


@pytest.mark.parametrize("text", ["", "Control", "low*", "low*x", "low:", "low:h", "low:=1", "low 3"])
def test_other_arms_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        arm_of(text)
