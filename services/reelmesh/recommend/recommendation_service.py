"""RecommendationService: proto in, one domain call, proto out."""

from __future__ import annotations

from typing import Any

import grpc

from reelmesh.discovery.v1.discovery_service_pb2 import ViewerContext
from reelmesh.mesh import person
from reelmesh.mesh.edge import country_of
from reelmesh.mesh.names import ModelName, organization_of
from reelmesh.recommend.errors import ViewerMissing
from reelmesh.recommend.home import Home
from reelmesh.recommend.library import parse
from reelmesh.recommend.personalization import Personalization
from reelmesh.recommend.similar import Similar
from reelmesh.recommend.v1 import recommendation_service_pb2 as pb
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer
from reelmesh.recommend.viewing import Chosen, Viewer

Context = grpc.aio.ServicerContext[Any, Any]
ROW_SIZE = 20


class RecommendationService(RecommendationServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(
        self, home: Home, similar: Similar, personalization: Personalization, country_header: str = ""
    ) -> None:
        """`country_header` says where a viewer is; empty where there is none."""
        self._home = home
        self._similar = similar
        self._personalization = personalization
        self._country_header = country_header

    async def GetHome(self, request: pb.GetHomeRequest, context: Context) -> pb.GetHomeResponse:
        """Return a viewer's home page."""
        organization = organization_of(request.parent)
        viewer = self._viewer(organization, request.viewer, request.context, context)
        page = await self._home.page(viewer, request.row_size or ROW_SIZE)
        return pb.GetHomeResponse(
            rows=[
                pb.Row(kind=pb.Row.Kind.Value(row.kind), subject=row.subject, titles=map(_to_proto, row.titles))
                for row in page.rows
            ],
            model=_model_name(organization, page.model),
            arm=page.arm,
            personal=page.personal,
            missing=page.missing,
        )

    async def ListSimilarTitles(
        self, request: pb.ListSimilarTitlesRequest, context: Context
    ) -> pb.ListSimilarTitlesResponse:
        """List what resembles a title."""
        organization, _ = parse(request.name)
        viewer = self._viewer(organization, "", request.context, context)
        found, model = await self._similar.of(viewer, request.name, request.page_size or ROW_SIZE)
        return pb.ListSimilarTitlesResponse(titles=map(_to_proto, found), model=_model_name(organization, model))

    async def GetNextEpisode(self, request: pb.GetNextEpisodeRequest, context: Context) -> pb.GetNextEpisodeResponse:
        """Return what follows an episode."""
        organization, _ = parse(request.name)
        viewer = self._viewer(organization, "", request.context, context)
        return pb.GetNextEpisodeResponse(title=await self._similar.next_episode(viewer, request.name))

    async def GetPersonalization(
        self, request: pb.GetPersonalizationRequest, context: Context
    ) -> pb.GetPersonalizationResponse:
        """Tell whether a viewer's history is used."""
        name = _named(request.viewer)
        enabled = await self._personalization.enabled(organization_of(request.parent), name)
        return pb.GetPersonalizationResponse(enabled=enabled)

    async def UpdatePersonalization(
        self, request: pb.UpdatePersonalizationRequest, context: Context
    ) -> pb.UpdatePersonalizationResponse:
        """Say whether a viewer's history is used."""
        name = _named(request.viewer)
        await self._personalization.set(organization_of(request.parent), name, enabled=request.enabled)
        return pb.UpdatePersonalizationResponse(enabled=request.enabled)

    def _viewer(self, organization: str, name: str, told: ViewerContext, context: Context) -> Viewer:
        caller = person.current()
        known = ViewerContext()
        known.CopyFrom(told)
        known.territory = country_of(context, self._country_header) or known.territory
        return Viewer(
            organization=organization,
            name=caller.subject if caller else name,
            context=known,
            signed_in=caller is not None,
            member=caller is not None and caller.is_member(organization),
        )


def _named(name: str) -> str:
    """Return who calls, or whom a client calls so who did not sign in. Raises ViewerMissing."""
    caller = person.current()
    viewer = caller.subject if caller else name
    if not viewer:
        raise ViewerMissing("say who watches, or sign in", violations=[("viewer", "is needed without a sign-in")])
    return viewer


def _model_name(organization: str, model: str) -> str:
    return str(ModelName(organization, model)) if model else ""


def _to_proto(chosen: Chosen) -> pb.RecommendedTitle:
    explanation = chosen.explanation
    message = pb.RecommendedTitle(
        title=chosen.title,
        explanation=pb.Explanation(
            reason=pb.Explanation.Reason.Value(explanation.reason.value),
            because_of=chosen.because_of,
            shared=chosen.shared,
        ),
    )
    if chosen.position is not None:
        message.position.FromTimedelta(chosen.position)
    if chosen.duration is not None:
        message.duration.FromTimedelta(chosen.duration)
    return message
