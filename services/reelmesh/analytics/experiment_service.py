"""ExperimentService: proto in, one domain call, proto out."""

from __future__ import annotations

from typing import Any

import grpc

from reelmesh.analytics.experiment_messages import arms_from_proto, experiment_to_proto
from reelmesh.analytics.experiment_results import Results, ResultsReader
from reelmesh.analytics.experiments import Assignments, ExperimentName, Experiments
from reelmesh.analytics.v1 import experiment_pb2
from reelmesh.analytics.v1 import experiment_service_pb2 as pb
from reelmesh.analytics.v1.experiment_service_pb2_grpc import ExperimentServiceServicer
from reelmesh.mesh.names import SessionName, organization_of

Context = grpc.aio.ServicerContext[Any, Any]


class ExperimentService(ExperimentServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, experiments: Experiments, assignments: Assignments, results: ResultsReader) -> None:
        self._experiments = experiments
        self._assignments = assignments
        self._results = results

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: Context
    ) -> pb.CreateExperimentResponse:
        """Begin an experiment."""
        wanted = request.experiment
        made = await self._experiments.create(
            ExperimentName.parse(wanted.name), wanted.display_name, arms_from_proto(wanted.arms), wanted.traffic or 1.0
        )
        return pb.CreateExperimentResponse(experiment=experiment_to_proto(made))

    async def GetExperiment(self, request: pb.GetExperimentRequest, context: Context) -> pb.GetExperimentResponse:
        """Return an experiment."""
        found = await self._experiments.get(ExperimentName.parse(request.name))
        return pb.GetExperimentResponse(experiment=experiment_to_proto(found))

    async def ListExperiments(self, request: pb.ListExperimentsRequest, context: Context) -> pb.ListExperimentsResponse:
        """List experiments."""
        found = await self._experiments.list(organization_of(request.parent))
        return pb.ListExperimentsResponse(experiments=map(experiment_to_proto, found))

    async def EndExperiment(self, request: pb.EndExperimentRequest, context: Context) -> pb.EndExperimentResponse:
        """End an experiment."""
        ended = await self._experiments.end(ExperimentName.parse(request.name))
        return pb.EndExperimentResponse(experiment=experiment_to_proto(ended))

    async def GetExperimentResults(
        self, request: pb.GetExperimentResultsRequest, context: Context
    ) -> pb.GetExperimentResultsResponse:
        """Tell what an experiment has shown."""
        experiment = await self._experiments.get(ExperimentName.parse(request.name))
        results = await self._results.of(experiment)
        message = _results_to_proto(results)
        message.experiment.CopyFrom(experiment_to_proto(experiment))
        return pb.GetExperimentResultsResponse(results=message)

    async def AssignExperiments(
        self, request: pb.AssignExperimentsRequest, context: Context
    ) -> pb.AssignExperimentsResponse:
        """Put a viewing in its arms."""
        exposures = await self._assignments.assign(
            SessionName.parse(request.session), request.viewer, request.parameter
        )
        return pb.AssignExperimentsResponse(
            assignments=[
                experiment_pb2.Assignment(experiment=each.experiment, arm=each.arm.id, parameters=each.arm.parameters)
                for each in exposures
            ]
        )


def _results_to_proto(results: Results) -> experiment_pb2.ExperimentResults:
    message = experiment_pb2.ExperimentResults(
        sample_ratio_p=results.sample_ratio_p, sample_ratio_mismatch=results.mismatch, mixed_units=results.mixed_units
    )
    for arm in results.arms:
        told = message.arms.add(arm=arm.arm, units=arm.units, exposures=arm.exposures)
        for metric, found in arm.measures.items():
            told.measures.add(
                metric=metric,
                value=found.value,
                difference=found.difference,
                difference_low=found.low,
                difference_high=found.high,
                p_value=found.p_value,
            )
    return message
