"""Takes the rows of a library into the catalog: several at once, each by itself, answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reelmesh.catalog.errors import VideoTaken
from reelmesh.catalog.rowcodecs.model import Row, RowFormat, RowRefused, ValueInvalid, resolved
from reelmesh.catalog.rowcodecs.reading import Numbered, Reader
from reelmesh.catalog.title_model import Effect, imported_name
from reelmesh.catalog.titles import Titles
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.errors import DomainError, InvalidArgument, Unavailable
from reelmesh.mesh.names import TitleName

AT_ONCE = 64
"""Rows of one import that are under way or wait for their answer to be sent."""
_FIELDS = {
    "PARENT_UNKNOWN": "parent_title",
    "PARENT_UNFIT": "parent_title",
    "MEMBER_UNKNOWN": "members",
    "VIDEO_UNKNOWN": "video",
    "VIDEO_TAKEN": "video",
    "TITLE_UNKNOWN": "name",
}
"""Field that is wrong, where an error names none."""

Check = Callable[[Title], None]
"""Holds a title against the rules of its fields. Raises InvalidArgument with violations."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row."""

    number: int
    """From 1."""
    external_id: str
    """Empty where it could not be read."""
    name: str = ""
    """The title; empty where there is none."""
    effect: Effect | None = None
    """None where the row was refused."""
    reason: str = ""
    field: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to import."""

    organization: str
    row_format: RowFormat
    author: str
    """Who changes titles: a resource name."""
    dry_run: bool = False


class Import:
    """One file that is being imported."""

    def __init__(self, titles: Titles, check: Check, settings: Settings) -> None:
        self._titles = titles
        self._check = check
        self._settings = settings
        self._reader = Reader(settings.row_format)
        self._seen: set[str] = set()
        """Names of the titles that rows stand for."""
        self._under_way: dict[str, asyncio.Task[Outcome]] = {}
        """Rows that have begun, by the names of their titles and of the videos that these want."""
        self._asking: dict[str, set[asyncio.Task[Outcome]]] = {}
        """Rows that have begun, by the names of the titles that they name."""
        self._done: dict[str, Title] = {}
        """What rows made, or would make, or found so already: enough of each title to be part of it."""
        self._players: dict[str, str] = {}
        """Videos that titles of rows have or would have, with the names of the titles."""

    async def run(self, data: AsyncIterator[bytes]) -> AsyncGenerator[Outcome]:
        """Import a file and yield what becomes of each row, in their order.

        No more is read than can be answered. When the answers are no longer taken, rows that are under way are
        abandoned: each was changed whole, or not at all. Raises HeaderInvalid; Unavailable, and then the rows that were
        not answered may be sent again.
        """
        answers: asyncio.Queue[_Answer | None] = asyncio.Queue(AT_ONCE)
        begun: set[asyncio.Task[Any]] = set()
        reading = asyncio.create_task(self._read(data, answers, begun))
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Outcome):
                    yield answer
                else:
                    yield await answer
                    begun.discard(answer)
            await reading
        finally:
            for each in (reading, *begun):
                each.cancel()
            await asyncio.gather(reading, *begun, return_exceptions=True)

    async def _read(
        self,
        data: AsyncIterator[bytes],
        answers: asyncio.Queue[_Answer | None],
        begun: set[asyncio.Task[Any]],
    ) -> None:
        async def take(rows: Iterable[Numbered]) -> None:
            for row in rows:
                answer = self._begin(row)
                if not isinstance(answer, Outcome):
                    begun.add(answer)
                await answers.put(answer)

        try:
            async for piece in data:
                await take(self._reader.feed(piece))
            await take(self._reader.finish())
        except asyncio.CancelledError:
            raise  # nobody takes answers any more
        except BaseException:
            await answers.put(None)
            raise
        await answers.put(None)

    def _begin(self, numbered: Numbered) -> _Answer:
        """Begin with a row, after the rows before it that it depends on."""
        row = numbered.row
        external_id = row.external_id if isinstance(row, RowRefused) else row.title.external_id
        try:
            if isinstance(row, RowRefused):
                raise row
            title, name = self._title(row)
        except RowRefused as error:
            return Outcome(numbered.number, external_id, reason=error.reason, field=error.field, message=error.message)
        self._seen.add(name)
        named = [each for each in (title.parent_title, *title.members) if each]
        needed = {self._under_way[each] for each in (*named, title.video) if each in self._under_way}
        # A row is not to find what only rows behind it make, however fast these are: a dry run would not.
        needed |= self._asking.get(name, set())
        earlier = set(self._under_way.values()) if title.video else set()
        task = asyncio.create_task(self._settle(numbered.number, row, name, needed, earlier))
        own = [name, title.video] if title.video else [name]
        self._under_way.update(dict.fromkeys(own, task))
        for each in named:
            self._asking.setdefault(each, set()).add(task)
        task.add_done_callback(lambda _: self._leave(task, own, named))
        return task

    def _leave(self, task: asyncio.Task[Outcome], own: Iterable[str], named: Iterable[str]) -> None:
        for each in own:
            if self._under_way.get(each) is task:
                del self._under_way[each]
        for each in named:
            asking = self._asking.get(each, set())
            asking.discard(task)
            if not asking:
                self._asking.pop(each, None)

    def _title(self, row: Row) -> tuple[Title, str]:
        """Return what a row wants a title to be, and the title's name. Raises RowRefused."""
        organization = self._settings.organization
        try:
            title = resolved(row, organization)
            name = _name(title, organization)
            self._check(title)
        except RowRefused as error:
            error.field = self._reader.field(error.field, row.title)
            raise
        except InvalidArgument as error:
            path, problem = error.violations[0] if error.violations else ("", error.message)
            raise ValueInvalid(self._reader.field(path, row.title), problem) from error
        if name in self._seen:
            field = self._reader.field("external_id" if title.external_id else "name", title)
            raise RowRefused("EXTERNAL_ID_REPEATED", field, "a row before it is of the same title")
        return title, name

    async def _settle(
        self,
        number: int,
        row: Row,
        name: str,
        needed: Collection[asyncio.Task[Outcome]],
        earlier: Collection[asyncio.Task[Outcome]],
    ) -> Outcome:
        """Let a title be what its row wants, and say what became of it. Raises Unavailable."""
        if needed:
            await asyncio.wait(needed)
        title = row.title
        try:
            try:
                effect, settled = await self._put(title, name)
            except VideoTaken:
                # Rows before it may be about to let the video go.
                if not earlier:
                    raise
                await asyncio.wait(earlier)
                effect, settled = await self._put(title, name)
        except Unavailable:
            raise
        except DomainError as error:
            return self._refused(number, row, error)
        self._note(name, settled)
        made = self._settings.dry_run and effect is Effect.CREATED
        return Outcome(number, title.external_id, "" if made else name, effect)

    async def _put(self, title: Title, name: str) -> tuple[Effect, Title]:
        player = self._players.get(title.video)
        if player is not None and player != name and self._done[player].video == title.video:
            raise VideoTaken("the video plays for another title", title=player)
        settings = self._settings
        return await self._titles.put(
            settings.organization, title, settings.author, dry_run=settings.dry_run, known=self._done
        )

    def _note(self, name: str, title: Title) -> None:
        """Remember what later rows may ask of a title: its kind, and its video."""
        self._done[name] = Title(kind=title.kind, video=title.video) if title.video else _KINDS[title.kind]
        if title.video:
            self._players[title.video] = name

    def _refused(self, number: int, row: Row, error: DomainError) -> Outcome:
        violations = error.violations if isinstance(error, InvalidArgument) else ()
        path, problem = violations[0] if violations else (_FIELDS.get(error.reason, ""), error.message)
        path = path.removeprefix("title.")
        if path == "parent_title" and row.parent_external_id:
            path = "parent_external_id"
        if path.startswith("members") and row.member_external_ids:
            path = f"member_external_ids{path.removeprefix('members')}"
        field = self._reader.field(path, row.title)
        return Outcome(number, row.title.external_id, reason=error.reason, field=field, message=problem)


_Answer = Outcome | asyncio.Task[Outcome]
_KINDS: Mapping[int, Title] = {kind: Title(kind=kind) for kind in Title.Kind.values()}


def _name(title: Title, organization: str) -> str:
    """Return the name of the title that a row is about. Raises RowRefused."""
    given = title.name
    if title.external_id:
        name = str(imported_name(organization, title.external_id))
        if given not in ("", name):
            raise ValueInvalid("name", "is another title than that of the external id")
        return name
    if not given:
        raise RowRefused("EXTERNAL_ID_MISSING", "external_id", "a row needs the id that the title has in your library")
    try:
        name_parsed = TitleName.parse(given)
    except ValueError as error:
        raise ValueInvalid("name", "must be organizations/{organization}/titles/{title}") from error
    if name_parsed.organization != organization:
        raise ValueInvalid("name", "belongs to another organization")
    return given
