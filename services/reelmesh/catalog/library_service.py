"""LibraryService: proto in, one domain call, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import protovalidate

from reelmesh.catalog.errors import ImportStarted, ImportUnstarted
from reelmesh.catalog.exporting import Export
from reelmesh.catalog.importing import Import, Outcome, Settings
from reelmesh.catalog.rowcodecs.model import RowFormat
from reelmesh.catalog.title_service import author
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1 import library_service_pb2 as pb
from reelmesh.catalog.v1.library_service_pb2_grpc import LibraryServiceServicer
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.interceptors import validate
from reelmesh.mesh.names import organization_of

Context = grpc.aio.ServicerContext[Any, Any]
_FORMATS = {pb.ROW_FORMAT_JSON: RowFormat.JSON, pb.ROW_FORMAT_CSV: RowFormat.CSV}


class LibraryService(LibraryServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, titles: Titles) -> None:
        self._titles = titles
        self._validator = protovalidate.Validator()

    async def ImportTitles(
        self, requests: AsyncIterator[pb.ImportTitlesRequest], context: Context
    ) -> AsyncIterator[pb.ImportTitlesResponse]:
        """Take rows, and answer each."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "settings":
            raise ImportUnstarted("say first how to import: settings, then data")
        wanted = first.settings
        settings = Settings(organization_of(wanted.parent), _FORMATS[wanted.format], author(), dry_run=wanted.dry_run)
        running = Import(self._titles, self._check, settings).run(_data(requests))
        async with aclosing(running) as outcomes:
            async for outcome in outcomes:
                yield _outcome(outcome)

    async def ExportTitles(
        self, request: pb.ExportTitlesRequest, context: Context
    ) -> AsyncIterator[pb.ExportTitlesResponse]:
        """Stream all titles as rows."""
        export = Export(self._titles, organization_of(request.parent), _FORMATS[request.format])
        async with aclosing(export.run()) as parts:
            async for part in parts:
                yield pb.ExportTitlesResponse(data=part)

    def _check(self, title: Title) -> None:
        validate(self._validator, title)


async def _data(requests: AsyncIterator[pb.ImportTitlesRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "data":
            raise ImportStarted("it was said already how to import")
        yield request.data


def _outcome(outcome: Outcome) -> pb.ImportTitlesResponse:
    effect = outcome.effect.value if outcome.effect is not None else "REFUSED"
    return pb.ImportTitlesResponse(
        row=outcome.number,
        external_id=outcome.external_id,
        name=outcome.name,
        effect=pb.ImportTitlesResponse.Effect.Value(f"EFFECT_{effect}"),
        reason=outcome.reason,
        field=outcome.field,
        message=outcome.message,
    )
