"""What is asked of the index and what it answers, and the bounds of both.

Answers are made of the contract's messages, so that nothing is copied between two forms of the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from reelmesh.discovery.v1.discovery_service_pb2 import Facet, SearchResponse, TitleSummary

MAX_QUERY_LENGTH = 256
"""Characters that a query has at most."""
MAX_DEPTH = 1000
"""Titles that may be paged through; so many are put in their exact order."""
MAX_TOTAL = 10_000
"""Up to this many titles are counted."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom is looked. All of it is part of every query to the index."""

    organization: str
    """Id of the organization whose titles are looked at."""
    territory: str = ""
    """Country (ISO 3166-1 alpha-2); empty where nobody knows: then only what is available everywhere is found."""
    language: str = ""
    """Language that titles are told in (BCP 47); empty: each in its original one."""
    maximum_age: int = 0
    """Age up to which titles are found, years; 0 for no bound. Within a bound, a title that nobody has rated counts as
    one for adults (18): nobody knows better."""
    signed_in: bool = False
    """Whether they are signed in."""
    member: bool = False
    """Whether they are a member of the organization; members count as signed in."""


class Mode(Enum):
    """How words are understood."""

    BEST = 0
    """By their letters, and by their meaning where there is a model."""
    LEXICAL = 1
    """By their letters."""
    SEMANTIC = 2
    """By their meaning; raises ModelMissing without a model."""


class Order(Enum):
    """In what order titles are listed."""

    POPULAR = 1
    NEW = 2
    NAME = 3
    TRENDING = 4
    NUMBER = 5


Filters = Mapping[str, Sequence[str]]
"""Values by facet; a title has to have one of the values of each facet named."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is searched for."""

    viewer: Viewer
    text: str
    filters: Filters = field(default_factory=dict)
    facets: Sequence[str] = ()
    """Facets to be counted over all that is found."""
    size: int = 20
    """Titles on a page, at least 1."""
    page_token: str = ""
    mode: Mode = Mode.BEST


@dataclass(frozen=True, slots=True)
class BrowseQuery:
    """What is listed."""

    viewer: Viewer
    order: Order = Order.POPULAR
    filters: Filters = field(default_factory=dict)
    facets: Sequence[str] = ()
    size: int = 20
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found."""

    hits: Sequence[SearchResponse.Hit]
    """The best first."""
    facets: Sequence[Facet]
    """In the order asked for."""
    total: int
    """At most MAX_TOTAL."""
    next_page_token: str
    """Empty on the last page."""


@dataclass(frozen=True, slots=True)
class BrowseResult:
    """What is there."""

    titles: Sequence[TitleSummary]
    facets: Sequence[Facet]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Popularity:
    """How much videos are watched: names of videos ("organizations/{organization}/videos/{video}") to counts."""

    views: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By country, "" for all of them together: viewings of the last weeks by video."""
    trending: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By country, "" for all of them together: how much more a video is watched than before, above 0; a video that is
    not is left out."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """How large an index is."""

    titles: int
    """Titles of all organizations, whoever may find them."""
    bytes: int
    """On the disk."""
    segments: int
    """Parts that the index consists of."""
    vectors: int
    """Titles whose meaning is known; 0 without a model."""
