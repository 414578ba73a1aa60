"""A viewer's home page: its parts are asked for side by side, and one that does not answer costs its rows only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from reelmesh.discovery.v1.discovery_service_pb2 import BrowseRequest, TitleSummary
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.errors import DomainError
from reelmesh.recommend.candidates import Chooser
from reelmesh.recommend.explanations import Explanation, Reason, in_common
from reelmesh.recommend.library import Holdings, Library, parse
from reelmesh.recommend.lists import Titles
from reelmesh.recommend.plans import MORE, SPARE, Pick, Plan, plan
from reelmesh.recommend.ranking import varied
from reelmesh.recommend.viewing import Chosen, Found, Page, Row, Trial, Viewer, Watched

HISTORY = 500
"""Videos of a viewer's history that are looked at, the latest."""
LEAST = 3
"""A row about something that was watched has at least so many titles, or is none."""
CHOICE_SECONDS, HISTORY_SECONDS, TRIAL_SECONDS, TITLES_SECONDS, LIST_SECONDS = 0.5, 1.0, 0.5, 1.0, 2.5
"""How long each part is waited for: a viewer's own, one after another, no more than the lists that are asked for beside
them; the experiment no more than the history beside it, and more than analytics itself waits for its log."""
LISTS: Mapping[str, tuple[BrowseRequest.Order.ValueType, Reason]] = {
    "trending": (BrowseRequest.ORDER_TRENDING, Reason.TRENDING),
    "new": (BrowseRequest.ORDER_NEW, Reason.NEW),
    "popular": (BrowseRequest.ORDER_POPULAR, Reason.POPULAR),
}
"""Rows that are nobody's in particular, in their order on the page."""
_BROWSED = 100
"""Most titles that discovery lists at once."""

_Answer = TypeVar("_Answer")
log = logging.getLogger(__name__)


class Histories(Protocol):
    """Playback's word on what a viewer watched."""

    async def latest(self, organization: str, viewer: str, size: int) -> Sequence[Watched]:
        """Return the latest of it, latest first. Raises Unavailable."""


class Trials(Protocol):
    """Analytics' word on experiments."""

    async def assign(self, organization: str, viewer: str) -> Trial | None:
        """Put a page in an arm of the experiment with models; None where none runs. Raises Unavailable."""


class Choices(Protocol):
    """Viewers' word on whether their history is used."""

    async def enabled(self, organization: str, viewer: str) -> bool:
        """Tell whether it is. Raises Unavailable."""


class Choosers(Protocol):
    """What chooses."""

    async def of(self, organization: str, model: str) -> Chooser:
        """Return what chooses with a model: its id, empty for the one that runs, NO_MODEL for none."""


class Home:
    """Makes pages."""

    def __init__(
        self,
        library: Library,
        choosers: Choosers,
        histories: Histories,
        titles: Titles,
        trials: Trials,
        choices: Choices,
        clock: Clock,
        away: Callable[[str], None],
    ) -> None:
        """`away` counts the parts that do not answer, by name."""
        self._library = library
        self._choosers = choosers
        self._histories = histories
        self._titles = titles
        self._trials = trials
        self._choices = choices
        self._clock = clock
        self._away = away

    async def page(self, viewer: Viewer, size: int) -> Page:
        """Return the page of a viewer, with rows of up to `size` titles."""
        missing: list[str] = []
        wanted = min(_BROWSED, MORE * size + SPARE)
        async with asyncio.TaskGroup() as group:
            listed = {
                name: group.create_task(
                    self._part(name, self._titles.browse(viewer, order, wanted), LIST_SECONDS, (), missing)
                )
                for name, (order, _) in LISTS.items()
            }
            own = group.create_task(self._own(viewer, size, missing))
        planned, found, arm, personal = own.result()
        page = _Filling(self._library, viewer.organization, found, planned, size)
        page.own_rows()
        for name, (_, reason) in LISTS.items():
            page.list_row(name, reason, listed[name].result())
        return Page(page.rows, planned.model, arm, personal, missing)

    async def _own(self, viewer: Viewer, size: int, missing: list[str]) -> tuple[Plan, Found, str, bool]:
        """Return the plan of a viewer's own rows, what of it they may find, their arm, and whether it is personal."""
        organization, name = viewer.organization, viewer.name
        if not name:
            return Plan(), {}, "", False
        # Asked for each page, and before anything of theirs is: who cannot be asked counts as not wanting it.
        enabled = self._choices.enabled(organization, name)
        if not await self._part("personalization", enabled, CHOICE_SECONDS, False, missing):
            return Plan(), {}, "", False
        nothing: Sequence[Watched] = ()
        history, trial = await asyncio.gather(
            self._part(
                "history", self._histories.latest(organization, name, HISTORY), HISTORY_SECONDS, nothing, missing
            ),
            self._part("experiment", self._trials.assign(organization, name), TRIAL_SECONDS, None, missing),
        )
        arm = trial.arm if trial is not None else ""
        if not history:
            return Plan(), {}, arm, False
        chooser = await self._choosers.of(organization, trial.model if trial is not None else "")
        planned = plan(chooser, self._library.of(organization), history, self._clock.now(), size)
        none: Found = {}
        named = self._titles.named(viewer, planned.names())
        found = await self._part("titles", named, TITLES_SECONDS, none, missing)
        return planned, found, arm, True

    async def _part(
        self, name: str, asking: Awaitable[_Answer], seconds: float, otherwise: _Answer, missing: list[str]
    ) -> _Answer:
        try:
            async with asyncio.timeout(seconds):
                return await asking
        except (DomainError, TimeoutError) as error:
            log.warning("a page lacks its %s: %s", name, error or "no answer in time")
            self._away(name)
            missing.append(name)
            return otherwise


def speaking(
    held: Holdings, found: Found, title: str, explanation: Explanation
) -> tuple[Sequence[TitleSummary], Sequence[str]]:
    """Return the titles of an explanation that the viewer may find, and what the title has in common with them."""
    named = [id_ for id_ in explanation.because_of if id_ in found]
    known, others = held.get(title), [work for id_ in named if (work := held.get(id_)) is not None]
    return [found[id_] for id_ in named], in_common(known, others) if known is not None else ()


class _Filling:
    """A page that is being filled, from its top. Nothing stands on it twice, and nothing of what was seen."""

    def __init__(self, library: Library, organization: str, found: Found, planned: Plan, size: int) -> None:
        self.rows: list[Row] = []
        self._held = library.of(organization)
        self._found = found
        self._plan = planned
        self._size = size
        self._shown: set[str] = set()

    def own_rows(self) -> None:
        """Add the rows of the viewer's own."""
        self._add("KIND_CONTINUE_WATCHING", self._fill(self._plan.going_on, seen=True))
        self._shown |= self._plan.seen
        varied_ones = varied(self._available(self._plan.for_you), self._genre, self._size)
        self._add("KIND_FOR_YOU", self._fill(varied_ones))
        for subject, picks in self._plan.because:
            summary = self._found.get(subject)
            available = self._available(picks)
            if summary is not None and len(available) >= LEAST:
                self._add("KIND_BECAUSE_YOU_WATCHED", self._fill(available), summary)

    def list_row(self, name: str, reason: Reason, titles: Sequence[TitleSummary]) -> None:
        """Add a row that is nobody's in particular."""
        chosen: list[Chosen] = []
        for title in titles:
            work = self._work(parse(title.title)[1])
            if work not in self._shown and len(chosen) < self._size:
                self._shown.add(work)
                chosen.append(Chosen(title, Explanation(reason)))
        self._add(f"KIND_{name.upper()}", chosen)

    def _add(self, kind: str, titles: Sequence[Chosen], subject: TitleSummary | None = None) -> None:
        if titles:
            self.rows.append(Row(kind, titles, subject))

    def _available(self, picks: Iterable[Pick]) -> list[Pick]:
        return [pick for pick in picks if pick.title in self._found and self._work(pick.title) not in self._shown]

    def _fill(self, picks: Sequence[Pick], *, seen: bool = False) -> list[Chosen]:
        chosen: list[Chosen] = []
        for pick in picks:
            summary, work = self._found.get(pick.title), self._work(pick.title)
            if summary is None or work in self._shown or (not seen and work in self._plan.seen):
                continue
            self._shown.add(work)
            because, shared = speaking(self._held, self._found, pick.title, pick.explanation)
            chosen.append(Chosen(summary, pick.explanation, because, shared, pick.position, pick.duration))
            if len(chosen) == self._size:
                break
        return chosen

    def _work(self, title: str) -> str:
        known = self._held.get(title)
        work = self._held.work_of(known) if known is not None else None
        return work.id if work is not None else title

    def _genre(self, pick: Pick) -> str:
        known = self._held.get(pick.title)
        return known.genres[0] if known is not None and known.genres else ""
