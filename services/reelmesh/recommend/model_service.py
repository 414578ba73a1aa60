"""ModelService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from reelmesh.mesh.errors import InvalidArgument
from reelmesh.mesh.names import ModelName, decode_page_token, encode_page_token, organization_of
from reelmesh.recommend.messages import evaluation_to_proto, model_to_proto
from reelmesh.recommend.models import Judge, Models
from reelmesh.recommend.v1 import model_service_pb2 as pb
from reelmesh.recommend.v1.model_service_pb2_grpc import ModelServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50


class ModelService(ModelServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, models: Models, judge: Judge, pseudonym: Callable[[str, str], bytes]) -> None:
        """`pseudonym` is what the warehouse calls an organization's viewer."""
        self._models = models
        self._judge = judge
        self._pseudonym = pseudonym

    async def TrainModel(self, request: pb.TrainModelRequest, context: Context) -> pb.TrainModelResponse:
        """Begin a model."""
        model, shelf = await self._models.begin(organization_of(request.parent), request.request_id)
        return pb.TrainModelResponse(model=model_to_proto(model, shelf))

    async def EvaluateModel(self, request: pb.EvaluateModelRequest, context: Context) -> pb.EvaluateModelResponse:
        """Judge a model."""
        evaluation = await self._models.evaluate(ModelName.parse(request.name), self._judge)
        return pb.EvaluateModelResponse(evaluation=evaluation_to_proto(evaluation))

    async def AuditViewer(self, request: pb.AuditViewerRequest, context: Context) -> pb.AuditViewerResponse:
        """Tell whether a model learned from a viewer."""
        name = ModelName.parse(request.name)
        pseudonym = self._pseudonym(name.organization, request.viewer)
        present, viewers = await self._models.learned_from(name, pseudonym)
        return pb.AuditViewerResponse(present=present, viewers=viewers)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Return a model."""
        model, shelf = await self._models.get(ModelName.parse(request.name))
        return pb.GetModelResponse(model=model_to_proto(model, shelf))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """List models."""
        found, further, shelf = await self._models.list(
            organization_of(request.parent), decode_page_token(request.page_token), request.page_size or PAGE_SIZE
        )
        return pb.ListModelsResponse(
            models=[model_to_proto(each, shelf) for each in found], next_page_token=encode_page_token(further)
        )

    async def RollbackModel(self, request: pb.RollbackModelRequest, context: Context) -> pb.RollbackModelResponse:
        """Run the model that ran before."""
        organization = organization_of(request.parent)
        named = ModelName.parse(request.model) if request.model else None
        if named is not None and named.organization != organization:
            raise InvalidArgument("parent and model are of different organizations")
        model, shelf = await self._models.roll_back(organization, named)
        return pb.RollbackModelResponse(model=model_to_proto(model, shelf))
