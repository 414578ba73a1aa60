"""DiscoveryService: proto in, one call to the index in a thread, proto out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from reelmesh.discovery.index import Index
from reelmesh.discovery.model import BrowseQuery, Filters, Mode, Order, SearchQuery, Viewer
from reelmesh.discovery.pool import Pool
from reelmesh.discovery.rebuild import Indexes
from reelmesh.discovery.v1 import discovery_service_pb2 as pb
from reelmesh.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceServicer
from reelmesh.mesh import person
from reelmesh.mesh.edge import country_of
from reelmesh.mesh.errors import InvalidArgument
from reelmesh.mesh.names import TitleName, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 20
SUGGESTIONS = 8
MODES = {
    pb.SearchRequest.MODE_UNSPECIFIED: Mode.BEST,
    pb.SearchRequest.MODE_LEXICAL: Mode.LEXICAL,
    pb.SearchRequest.MODE_SEMANTIC: Mode.SEMANTIC,
}
ORDERS = {
    pb.BrowseRequest.ORDER_UNSPECIFIED: Order.POPULAR,
    pb.BrowseRequest.ORDER_POPULAR: Order.POPULAR,
    pb.BrowseRequest.ORDER_NEW: Order.NEW,
    pb.BrowseRequest.ORDER_NAME: Order.NAME,
    pb.BrowseRequest.ORDER_TRENDING: Order.TRENDING,
    pb.BrowseRequest.ORDER_NUMBER: Order.NUMBER,
}


class DiscoveryService(DiscoveryServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, indexes: Indexes[Index], pool: Pool, country_header: str = "") -> None:
        """`country_header` says where a viewer is; empty where there is none."""
        self._indexes, self._pool, self._country_header = indexes, pool, country_header

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        """Find titles by words."""
        query = SearchQuery(
            viewer=self._viewer(organization_of(request.parent), request.viewer, context),
            text=request.query,
            filters=_filters(request.filters),
            facets=tuple(request.facets),
            size=request.page_size or PAGE_SIZE,
            page_token=request.page_token,
            mode=MODES[request.mode],
        )
        index = self._indexes.current
        found = await self._pool.run(lambda: index.search(query))
        return pb.SearchResponse(
            hits=found.hits, facets=found.facets, total=found.total, next_page_token=found.next_page_token
        )

    async def Suggest(self, request: pb.SuggestRequest, context: Context) -> pb.SuggestResponse:
        """Complete what somebody is typing."""
        viewer = self._viewer(organization_of(request.parent), request.viewer, context)
        index = self._indexes.current
        found = await self._pool.run(lambda: index.suggest(request.prefix, viewer, request.size or SUGGESTIONS))
        return pb.SuggestResponse(suggestions=found)

    async def Browse(self, request: pb.BrowseRequest, context: Context) -> pb.BrowseResponse:
        """List titles by filters."""
        query = BrowseQuery(
            viewer=self._viewer(organization_of(request.parent), request.viewer, context),
            order=ORDERS[request.order],
            filters=_filters(request.filters),
            facets=tuple(request.facets),
            size=request.page_size or PAGE_SIZE,
            page_token=request.page_token,
        )
        index = self._indexes.current
        found = await self._pool.run(lambda: index.browse(query))
        return pb.BrowseResponse(titles=found.titles, facets=found.facets, next_page_token=found.next_page_token)

    async def GetTitleDetails(self, request: pb.GetTitleDetailsRequest, context: Context) -> pb.GetTitleDetailsResponse:
        """Return what a title's page shows."""
        viewer = self._viewer(TitleName.parse(request.name).organization, request.viewer, context)
        index = self._indexes.current
        return await self._pool.run(lambda: index.details(request.name, viewer))

    async def BatchGetTitles(self, request: pb.BatchGetTitlesRequest, context: Context) -> pb.BatchGetTitlesResponse:
        """Return those of the named titles that the viewer may find."""
        viewer = _viewer(
            organization_of(request.parent), request.viewer, signed_in=request.signed_in, member=request.member
        )
        index = self._indexes.current
        found = await self._pool.run(lambda: index.get(request.names, viewer))
        return pb.BatchGetTitlesResponse(titles=found)

    def _viewer(self, organization: str, told: pb.ViewerContext, context: Context) -> Viewer:
        """Say for whom is looked; the edge's word on their country comes before their own."""
        caller = person.current()
        return _viewer(
            organization,
            told,
            territory=country_of(context, self._country_header) or told.territory,
            signed_in=caller is not None,
            member=caller is not None and caller.is_member(organization),
        )


def _viewer(
    organization: str, told: pb.ViewerContext, *, territory: str | None = None, signed_in: bool, member: bool
) -> Viewer:
    return Viewer(
        organization=organization,
        territory=told.territory if territory is None else territory,
        language=told.language,
        maximum_age=told.maximum_age,
        signed_in=signed_in,
        member=member,
    )


def _filters(filters: Iterable[pb.FacetFilter]) -> Filters:
    """Raises InvalidArgument where a facet is named twice."""
    found: dict[str, tuple[str, ...]] = {}
    for place, each in enumerate(filters):
        if each.facet in found:
            problem = "names a facet that an earlier one names: give its values together"
            raise InvalidArgument(f"filters[{place}]: {problem}", violations=[(f"filters[{place}]", problem)])
        found[each.facet] = tuple(each.values)
    return found
