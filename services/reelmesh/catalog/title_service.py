"""TitleService: proto in, one domain call, proto out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import grpc

from reelmesh.catalog.title_edits import edit_all
from reelmesh.catalog.title_model import Revision
from reelmesh.catalog.titles import Position, Titles
from reelmesh.catalog.v1 import title_service_pb2 as pb
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceServicer
from reelmesh.mesh import person
from reelmesh.mesh.errors import InvalidArgument, PageTokenInvalid
from reelmesh.mesh.names import TitleName, decode_page_token, encode_page_token, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50
KINDS: Sequence[int] = [value for value in Title.Kind.values() if value]


class TitleService(TitleServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, titles: Titles) -> None:
        self._titles = titles

    async def CreateTitle(self, request: pb.CreateTitleRequest, context: Context) -> pb.CreateTitleResponse:
        """Make a title."""
        organization = organization_of(request.parent)
        title = await self._titles.create(organization, request.title, request.request_id, author())
        return pb.CreateTitleResponse(title=title)

    async def GetTitle(self, request: pb.GetTitleRequest, context: Context) -> pb.GetTitleResponse:
        """Return a title."""
        return pb.GetTitleResponse(title=await self._titles.get(TitleName.parse(request.name)))

    async def ListTitles(self, request: pb.ListTitlesRequest, context: Context) -> pb.ListTitlesResponse:
        """List titles of a kind, or what a title is made of."""
        size = request.page_size or PAGE_SIZE
        if request.parent_title:
            return await self._parts(request, size)
        kinds: Sequence[int] = [request.kind] if request.kind else KINDS
        behind = _position(request.page_token, kinds)
        titles, last = await self._titles.list(organization_of(request.parent), kinds, size, behind)
        return pb.ListTitlesResponse(titles=titles, next_page_token=_token(last))

    async def UpdateTitle(self, request: pb.UpdateTitleRequest, context: Context) -> pb.UpdateTitleResponse:
        """Change some fields."""
        given = request.title
        title = await self._titles.update(
            TitleName.asked(given.name, "title.name"), given, list(request.update_mask.paths), given.etag, author()
        )
        return pb.UpdateTitleResponse(title=title)

    async def DeleteTitle(self, request: pb.DeleteTitleRequest, context: Context) -> pb.DeleteTitleResponse:
        """Delete a title."""
        name = TitleName.parse(request.name)
        await self._titles.delete(name, request.etag, author(), allow_missing=request.allow_missing)
        return pb.DeleteTitleResponse()

    async def BulkEditTitles(self, request: pb.BulkEditTitlesRequest, context: Context) -> pb.BulkEditTitlesResponse:
        """Make the same edit to many titles."""
        names = [TitleName.parse(name) for name in request.names]
        _check_organization(request.parent, names)
        outcomes = await edit_all(self._titles, names, request.edit, author(), dry_run=request.dry_run)
        return pb.BulkEditTitlesResponse(
            outcomes=[
                pb.BulkEditTitlesResponse.Outcome(
                    name=str(each.name), revision=each.revision, changed=each.changed, reason=each.reason
                )
                for each in outcomes
            ]
        )

    async def ListTitleRevisions(
        self, request: pb.ListTitleRevisionsRequest, context: Context
    ) -> pb.ListTitleRevisionsResponse:
        """List what a title was."""
        size = request.page_size or PAGE_SIZE
        before = _number(request.page_token)
        revisions = await self._titles.revisions(TitleName.parse(request.name), before, size + 1)
        page = revisions[:size]
        further = str(page[-1].title.revision) if len(revisions) > size else ""
        return pb.ListTitleRevisionsResponse(revisions=map(_revision, page), next_page_token=encode_page_token(further))

    async def RestoreTitle(self, request: pb.RestoreTitleRequest, context: Context) -> pb.RestoreTitleResponse:
        """Make a title what it was."""
        name = TitleName.parse(request.name)
        title = await self._titles.restore(name, request.revision, request.etag, author())
        return pb.RestoreTitleResponse(title=title)

    async def _parts(self, request: pb.ListTitlesRequest, size: int) -> pb.ListTitlesResponse:
        parent = TitleName.parse(request.parent_title)
        _check_organization(request.parent, [parent])
        start = _number(request.page_token)
        parts = [each for each in await self._titles.parts(parent) if request.kind in (0, each.kind)]
        further = str(start + size) if len(parts) > start + size else ""
        return pb.ListTitlesResponse(titles=parts[start : start + size], next_page_token=encode_page_token(further))


def author() -> str:
    """Return who changes a title in this call; empty for a service of the mesh."""
    caller = person.current()
    return caller.subject if caller is not None else ""


def _revision(revision: Revision) -> pb.TitleRevision:
    shown = revision.title
    if revision.deleted:
        shown = Title(name=shown.name, revision=shown.revision)
    entry = pb.TitleRevision(title=shown, author=revision.author, fields=revision.fields)
    entry.time.FromDatetime(revision.time)
    return entry


def _check_organization(parent: str, names: list[TitleName]) -> None:
    if any(name.organization != organization_of(parent) for name in names):
        problem = "belongs to another organization"
        raise InvalidArgument(f"names: {problem}", violations=[("names", problem)])


def _token(position: Position | None) -> str:
    if position is None:
        return ""
    return encode_page_token(json.dumps([position.kind, position.made.timestamp(), position.id]))


def _position(token: str, kinds: Sequence[int]) -> Position | None:
    if not token:
        return None
    try:
        kind, made, id_ = json.loads(decode_page_token(token))
        position = Position(int(kind), datetime.fromtimestamp(float(made), UTC), str(id_))
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise PageTokenInvalid("page_token was not made by this list") from error
    if position.kind not in kinds:
        raise PageTokenInvalid("page_token was not made by this list")
    return position


def _number(token: str) -> int:
    text = decode_page_token(token)
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise PageTokenInvalid("page_token was not made by this list")
    return int(text or 0)
