"""What resembles a title, and what follows an episode."""

from __future__ import annotations

from collections.abc import Sequence

from reelmesh.discovery.v1.discovery_service_pb2 import TitleSummary
from reelmesh.recommend.errors import NotAnEpisode, TitleUnknown
from reelmesh.recommend.explanations import of_similar
from reelmesh.recommend.home import Choosers, speaking
from reelmesh.recommend.library import EPISODE, Library, Title, parse
from reelmesh.recommend.lists import Titles
from reelmesh.recommend.plans import MORE, SPARE
from reelmesh.recommend.viewing import Chosen, Viewer

FOLLOWING = 50
"""Episodes that are looked at for one that the viewer may find."""


class Similar:
    """Answers about single titles."""

    def __init__(self, library: Library, choosers: Choosers, titles: Titles) -> None:
        self._library = library
        self._choosers = choosers
        self._titles = titles

    async def of(self, viewer: Viewer, name: str, size: int) -> tuple[Sequence[Chosen], str]:
        """Return what resembles a title, given by its name or its video's, and the id of the model that chose.

        An episode stands for its series, and an extra for its work. Raises TitleUnknown, Unavailable.
        """
        held = self._library.of(viewer.organization)
        found = self._known(viewer, name)
        title, work = found.id, held.work_of(found)
        chooser = await self._choosers.of(viewer.organization, "")
        row = chooser.stock.rows.get(work.id) if work is not None else None
        if row is None:
            # A collection resembles nothing, and what is not published is known to nobody.
            named = await self._titles.named(viewer, [title])
            if title not in named:
                raise TitleUnknown("there is no such title")
            return (), ""
        picks = chooser.similar(row)[: MORE * size + SPARE]
        ids = [chooser.stock.works[ranked.row].id for ranked in picks]
        named = await self._titles.named(viewer, [title, chooser.stock.works[row].id, *ids])
        if title not in named:
            raise TitleUnknown("there is no such title")
        chosen: list[Chosen] = []
        for id_, ranked in zip(ids, picks, strict=True):
            if id_ in named and len(chosen) < size:
                explanation = of_similar(chooser, ranked, row)
                because, shared = speaking(held, named, id_, explanation)
                chosen.append(Chosen(named[id_], explanation, because, shared))
        model = chooser.model.name if chooser.model is not None and chooser.knows(row) else ""
        return chosen, model

    async def next_episode(self, viewer: Viewer, name: str) -> TitleSummary | None:
        """Return the first that the viewer may find of what follows an episode; None after the last.

        Raises TitleUnknown, NotAnEpisode, Unavailable.
        """
        held = self._library.of(viewer.organization)
        episode = self._known(viewer, name)
        if episode.kind != EPISODE:
            raise NotAnEpisode("only episodes have a next one")
        following: list[str] = []
        after = held.next_episode(episode)
        while after is not None and len(following) < FOLLOWING:
            following.append(after.id)
            after = held.next_episode(after)
        named = await self._titles.named(viewer, following) if following else {}
        return next((named[id_] for id_ in following if id_ in named), None)

    def _known(self, viewer: Viewer, name: str) -> Title:
        held, id_ = self._library.of(viewer.organization), parse(name)[1]
        found = held.of_video(id_) if "/videos/" in name else held.get(id_)
        if found is None:
            raise TitleUnknown("there is no such title")
        return found
