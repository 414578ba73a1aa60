"""Titles: the rules. No gRPC, no driver, no clock of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reelmesh.catalog.errors import (
    EtagMismatch,
    ExternalIdTaken,
    FieldNotWritable,
    MemberUnknown,
    ParentUnknown,
    PlayingVideoUnknown,
    RevisionUnknown,
    TitleHasParts,
    TitleUnknown,
    VideoTaken,
)
from reelmesh.catalog.title_model import (
    FIXED,
    OURS,
    WRITABLE,
    Change,
    Effect,
    Held,
    Revision,
    differing,
    etag_of,
    filled,
    imported_name,
    overlaid,
    requested_name,
)
from reelmesh.catalog.title_rules import check, check_parent
from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.errors import Unavailable
from reelmesh.mesh.names import TitleName, VideoName

ATTEMPTS = 8
"""Times that a change is tried anew because someone else changed the title in between."""
READS_AT_ONCE = 32
"""Titles that one call reads side by side."""
CLAIM_SECONDS = 60.0
"""After this time a video that a title took, and did not name, is free again; longer than any call's deadline."""

EVERYTHING = "*"
"""Update mask of all that may be written."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a list of titles goes on: behind this one."""

    kind: int
    made: datetime
    id: str


class TitleStore(Protocol):
    """What titles need of a database; title_store.py is the one on Cassandra. Every method may raise Unavailable."""

    async def load(self, name: TitleName) -> Held | None:
        """Return a title, also a deleted one; None when there never was one."""

    async def intend(self, change: Change) -> None:
        """Note that a change is about to be tried."""

    async def put(self, revision: Revision, request_id: str | None) -> bool:
        """Write a revision behind the one before it; False when that is not the latest.

        `request_id` is what makes the title, None for a change of one that is there.
        """

    async def index(self, held: Held) -> None:
        """Write what lists say of a title, or take it out of them; an older revision changes nothing."""

    async def forget(self, *changes: Change) -> None:
        """Take notes away."""

    async def revision(self, name: TitleName, number: int) -> Revision | None:
        """Return a revision."""

    async def revisions(self, name: TitleName, before: int, size: int) -> Sequence[Revision]:
        """Return revisions before a number, the latest first."""

    async def of_kind(self, organization: str, kind: int, behind: Position | None, size: int) -> Sequence[Position]:
        """Return where titles of a kind lie, latest made first."""

    async def parts(self, parent: TitleName) -> Sequence[tuple[int, TitleName]]:
        """Return what a title is made of, with its numbers, in no order."""

    async def take(self, video: VideoName, title: TitleName, now: datetime) -> Taken | None:
        """Let a title have a video; return who has it already, when that is another one."""

    async def owner(self, video: VideoName) -> TitleName | None:
        """Return who has a video."""

    async def seize(self, video: VideoName, title: TitleName, before: Taken, now: datetime) -> bool:
        """Let a title have a video in place of another; False when that one no longer has it."""

    async def release(self, video: VideoName, title: TitleName) -> None:
        """Let others have a title's video."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Who has a video, and since when."""

    title: TitleName
    time: datetime


class Announcer(Protocol):
    """Tells the world."""

    def announce(self, change: Change, held: Held) -> None:
        """Say, soon, what a title is now; the change's note goes when it was said."""


class Titles:
    """Titles of all organizations."""

    def __init__(
        self,
        store: TitleStore,
        has_video: Callable[[VideoName], Awaitable[bool]],
        announcer: Announcer,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._store = store
        self._has_video = has_video
        self._announcer = announcer
        self._clock = clock
        self._ids = ids

    async def create(self, organization: str, given: Title, request_id: str, author: str) -> Title:
        """Make a title, or return the one that `request_id` made before.

        Raises TitleInvalid, TitleTooLarge, ExternalIdTaken, ParentUnknown, ParentUnfit, MemberUnknown,
        PlayingVideoUnknown, VideoTaken; TitleUnknown when what was made has been deleted since.
        """
        check(organization, given)
        name = self._name(organization, given.external_id, request_id)
        for _ in range(ATTEMPTS):
            before = await self._store.load(name)
            if before is not None and request_id and before.request_id == request_id:
                if before.deleted:
                    raise TitleUnknown("there is no such title")
                return before.title
            if before is not None and not before.deleted:
                raise ExternalIdTaken("there is a title of that external id", name=name)
            await self._check_references(given, Title())
            made = await self._make(name, before, given, request_id, author)
            if made is not None:
                return made
        raise Unavailable("too many make the title at once")

    async def get(self, name: TitleName) -> Title:
        """Return a title. Raises TitleUnknown."""
        return (await self._held(name)).title

    async def list(
        self, organization: str, kinds: Sequence[int], size: int, behind: Position | None
    ) -> tuple[Sequence[Title], Position | None]:
        """Return a page of titles of `kinds`, one kind after the other, each latest made first, and its last position.

        That is None on the last page.
        """
        found: list[tuple[Position, Title]] = []
        remaining = list(kinds[kinds.index(behind.kind) :]) if behind is not None else list(kinds)
        while remaining and len(found) <= size:
            wanted = size + 1 - len(found)
            positions = await self._store.of_kind(organization, remaining[0], behind, wanted)
            titles = await self.load_all(TitleName(organization, position.id) for position in positions)
            # Entries without a title are of changes that were cut short: skipped, not counted.
            found += [(at, title) for at, title in zip(positions, titles, strict=True) if title is not None]
            behind = positions[-1] if positions else None
            if len(positions) < wanted:
                behind = None
                remaining.pop(0)
        page = found[:size]
        return [title for _, title in page], page[-1][0] if len(found) > size else None

    async def parts(self, parent: TitleName) -> Sequence[Title]:
        """Return what a title is made of, by kind, number and making."""
        names = [name for _, name in await self._store.parts(parent)]
        titles = [title for title in await self.load_all(names) if title is not None]
        return sorted(titles, key=lambda title: (title.kind, title.number, title.create_time.ToNanoseconds()))

    async def update(self, name: TitleName, given: Title, mask: Sequence[str], etag: str, author: str) -> Title:
        """Change the fields in `mask`, all that `given` fills when it is empty; others stay as others left them.

        Raises TitleUnknown, EtagMismatch, FieldNotWritable, and as `create`.
        """
        paths = _paths(given, mask)
        title, _ = await self.change(name, lambda title: overlaid(title, given, paths), author, etag)
        return title

    async def change(
        self,
        name: TitleName,
        edit: Callable[[Title], Title],
        author: str,
        etag: str = "",
        *,
        dry_run: bool = False,
    ) -> tuple[Title, bool]:
        """Replace a title by what `edit` makes of it; return what it is then, and whether that is another one.

        A dry run says so and changes nothing. Raises as `update`.
        """
        for _ in range(ATTEMPTS):
            held = await self._held(name, etag)
            new = edit(held.title)
            fields = differing(held.title, new)
            if not fields:
                return held.title, False
            check(name.organization, new)
            await self._check_references(new, held.title)
            if dry_run:
                return new, True
            written = await self._write(held, new, fields, author)
            if written is not None:
                return written, True
        raise Unavailable("too many change the title at once")

    async def put(
        self,
        organization: str,
        given: Title,
        author: str,
        *,
        dry_run: bool = False,
        known: Mapping[str, Title] | None = None,
    ) -> tuple[Effect, Title]:
        """Make the title of an external id what is given, all its fields; say what became of it.

        One without an external id is that of the given name, which must be there. `known` are titles by name that count
        as being there, for titles that name each other. Raises as `update`; FieldNotWritable for another kind or
        parent than it was made with.
        """
        check(organization, given)
        there = known or {}
        name = imported_name(organization, given.external_id) if given.external_id else TitleName.parse(given.name)
        for _ in range(ATTEMPTS):
            held = await self._store.load(name)
            if held is None or held.deleted:
                if not given.external_id:
                    raise TitleUnknown("there is no such title")
                await self._check_references(given, Title(), there)
                if dry_run:
                    await self._check_video(name, given, Title(), there)
                    return Effect.CREATED, given
                made = await self._make(name, held, given, "", author)
                if made is not None:
                    return Effect.CREATED, made
                continue
            fixed = differing(held.title, given, FIXED)
            if fixed:
                message = f"title.{fixed[0]} stays what it was when the title was made"
                raise FieldNotWritable(message, violations=[(f"title.{path}", "cannot be changed") for path in fixed])
            fields = differing(held.title, given)
            if not fields:
                return Effect.UNCHANGED, held.title
            new = overlaid(held.title, given, fields)
            await self._check_references(new, held.title, there)
            if dry_run:
                await self._check_video(name, new, held.title, there)
                return Effect.UPDATED, new
            written = await self._write(held, new, fields, author)
            if written is not None:
                return Effect.UPDATED, written
        raise Unavailable("too many change the title at once")

    async def delete(self, name: TitleName, etag: str, author: str, *, allow_missing: bool) -> None:
        """Delete a title that nothing is part of. Raises TitleUnknown, EtagMismatch, TitleHasParts."""
        for _ in range(ATTEMPTS):
            try:
                held = await self._held(name, etag)
            except TitleUnknown:
                if allow_missing:
                    return
                raise
            if await self.parts(name):
                raise TitleHasParts("other titles are part of it; delete them first")
            if await self._write(held, held.title, (), author, deleted=True) is not None:
                return
        raise Unavailable("too many change the title at once")

    async def revisions(self, name: TitleName, before: int, size: int) -> Sequence[Revision]:
        """Return revisions before a number (0: all), the latest first, also of a deleted title. Raises TitleUnknown."""
        if await self._store.load(name) is None:
            raise TitleUnknown("there is no such title")
        return await self._store.revisions(name, before, size)

    async def restore(self, name: TitleName, number: int, etag: str, author: str) -> Title:
        """Make a title what it was in a revision. Raises RevisionUnknown, and as `update`."""
        for _ in range(ATTEMPTS):
            held = await self._store.load(name)
            if held is None:
                raise TitleUnknown("there is no such title")
            _check_etag(held, etag)
            wanted = await self._store.revision(name, number)
            if wanted is None:
                raise RevisionUnknown("the title has no such revision", revision=number)
            new = overlaid(held.title, wanted.title, WRITABLE)
            fields = differing(held.title, new)
            if not fields and not held.deleted:
                return held.title
            check(name.organization, new)
            await self._check_references(new, Title() if held.deleted else held.title)
            written = await self._write(held, new, fields, author)
            if written is not None:
                return written
        raise Unavailable("too many change the title at once")

    async def lose(self, video: VideoName) -> None:
        """Take a video that is gone away from the title that it played for."""
        owner = await self._store.owner(video)
        if owner is None:
            return
        try:
            await self.change(
                owner, lambda title: overlaid(title, Title(), ["video"]) if title.video == str(video) else title, ""
            )
        except TitleUnknown:
            log.info("%s is gone, and so is the title that it played for", video)

    async def load_all(self, names: Iterable[TitleName]) -> Sequence[Title | None]:
        """Return titles in the order of their names; None where there is none."""
        slots = asyncio.Semaphore(READS_AT_ONCE)

        async def load(name: TitleName) -> Title | None:
            async with slots:
                held = await self._store.load(name)
            return None if held is None or held.deleted else held.title

        return await asyncio.gather(*map(load, names))

    def _name(self, organization: str, external_id: str, request_id: str) -> TitleName:
        if external_id:
            return imported_name(organization, external_id)
        return requested_name(organization, request_id or self._ids.new())

    async def _held(self, name: TitleName, etag: str = "") -> Held:
        held = await self._store.load(name)
        if held is None or held.deleted:
            raise TitleUnknown("there is no such title")
        _check_etag(held, etag)
        return held

    async def _make(
        self, name: TitleName, before: Held | None, given: Title, request_id: str, author: str
    ) -> Title | None:
        new = Title()
        new.CopyFrom(given)
        for path in OURS:
            new.ClearField(path)  # type: ignore[arg-type] # a field's name, not a literal
        new.name = str(name)
        new.create_time.FromDatetime(self._clock.now())
        return await self._write(before, new, filled(new), author, request_id=request_id)

    async def _write(
        self,
        before: Held | None,
        title: Title,
        fields: tuple[str, ...],
        author: str,
        *,
        deleted: bool = False,
        request_id: str | None = None,
    ) -> Title | None:
        """Write what is behind `before`, and say so; None when that is no longer the latest."""
        now = self._clock.now()
        name = TitleName.parse(title.name)
        new = Title()
        new.CopyFrom(title)
        new.revision = 1 + (before.revision if before is not None else 0)
        new.etag = etag_of(new.name, new.revision)
        new.update_time.FromDatetime(now)
        held = Held(new, deleted, request_id or (before.request_id if before is not None else ""))
        # The change and its event lie in different stores, so nothing covers both. The note comes first: should we die
        # in between, the sweep finds it and announces what the title is then.
        change = Change(self._ids.new(), name, now)
        old_video = before.title.video if before is not None and not before.deleted else ""
        new_video = "" if deleted else new.video
        if new_video and new_video != old_video:
            await self._take(VideoName.parse(new_video), name, now)
        await self._store.intend(change)
        if not await self._store.put(Revision(new, author, now, fields, deleted), request_id):
            await self._store.forget(change)
            return None
        # The note goes once the change was announced; should the lists not take it up, it stays for the sweep.
        await self._store.index(held)
        self._announcer.announce(change, held)
        if old_video and new_video != old_video:
            await self._store.release(VideoName.parse(old_video), name)
        return new

    async def _take(self, video: VideoName, title: TitleName, now: datetime) -> None:
        for _ in range(ATTEMPTS):
            taken = await self._store.take(video, title, now)
            if taken is None:
                return
            other = await self._store.load(taken.title)
            if other is not None and not other.deleted and other.title.video == str(video):
                raise VideoTaken("the video plays for another title", title=taken.title)
            # Whoever took it may be about to write: only one that died leaves it at that.
            if now - taken.time < timedelta(seconds=CLAIM_SECONDS):
                raise VideoTaken("another title is about to have the video", title=taken.title)
            if await self._store.seize(video, title, taken, now):
                return
        raise Unavailable("too many want the video at once")

    async def _check_video(self, name: TitleName, new: Title, old: Title, known: Mapping[str, Title]) -> None:
        """Raises VideoTaken where `_take` would."""
        if not new.video or new.video == old.video:
            return
        owner = await self._store.owner(VideoName.parse(new.video))
        if owner is None or owner == name:
            return
        there = known.get(str(owner)) or (await self.load_all([owner]))[0]
        if there is not None and there.video == new.video:
            raise VideoTaken("the video plays for another title", title=owner)

    async def _check_references(self, new: Title, old: Title, known: Mapping[str, Title] | None = None) -> None:
        """Raises ParentUnknown, ParentUnfit, MemberUnknown, PlayingVideoUnknown, for what `old` did not name."""
        there = known or {}
        if new.parent_title and new.parent_title != old.parent_title:
            parent = there.get(new.parent_title) or (await self.load_all([TitleName.parse(new.parent_title)]))[0]
            if parent is None:
                raise ParentUnknown("there is no such title to be part of", parent_title=new.parent_title)
            check_parent(new, parent)
        if new.video and new.video != old.video and not await self._has_video(VideoName.parse(new.video)):
            raise PlayingVideoUnknown("there is no such video", video=new.video)
        before = set(old.members)
        added = [member for member in new.members if member not in before and member not in there]
        for member, title in zip(added, await self.load_all(map(TitleName.parse, added)), strict=True):
            if title is None:
                raise MemberUnknown("a member is not there", member=member)


def _paths(given: Title, mask: Sequence[str]) -> Sequence[str]:
    if list(mask) == [EVERYTHING]:
        return WRITABLE
    wrong = [path for path in mask if path not in WRITABLE]
    if wrong:
        raise _not_writable(wrong, "update_mask")
    return mask or filled(given)


def _not_writable(paths: Sequence[str], field: str) -> FieldNotWritable:
    message = f"{field}: {paths[0]!r} cannot be changed; {', '.join(WRITABLE)} can"
    return FieldNotWritable(message, violations=[(field, f"{path!r} cannot be changed") for path in paths])


def _check_etag(held: Held, etag: str) -> None:
    if etag and etag != held.title.etag:
        raise EtagMismatch("the title has changed since it was read", etag=held.title.etag)
