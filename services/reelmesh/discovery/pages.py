"""Page tokens of searches and lists: where the next page begins, and what of.

The order of what was found may change between two pages, when a title becomes more popular. So that no title comes
twice or never, a replica keeps the order of the first page for a while, and the next pages follow it as long as it
does. Whether a viewer may find a title is asked anew on each page.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from tantivy import DocAddress

from reelmesh.discovery.errors import PageTooDeep
from reelmesh.discovery.model import MAX_DEPTH, BrowseQuery, SearchQuery
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.lru import Lru
from reelmesh.mesh.names import decode_page_token, encode_page_token

KEPT = 200_000
"""Ordinals of orders that are kept, all together."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What was found, in its order."""

    ordinals: tuple[int, ...]
    scores: tuple[float, ...]
    addresses: Mapping[int, DocAddress] = field(default_factory=dict, compare=False)
    """Of documents in the view that they were found in."""


def fingerprint(query: SearchQuery | BrowseQuery) -> str:
    """Say what is asked for, pages and facets apart: a token is good for the same question only."""
    asked = asdict(query)
    for each in ("page_token", "size", "facets"):
        del asked[each]
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def begin(token: str, asked: str) -> int:
    """Return where a page begins. Raises PageTokenInvalid and PageTooDeep."""
    if not token:
        return 0
    try:
        fingerprint_, start = decode_page_token(token).split("/")
        at = int(start)
    except ValueError as error:
        raise PageTokenInvalid("page_token was not made by this list") from error
    if fingerprint_ != asked or at <= 0:
        raise PageTokenInvalid("page_token was made for another question")
    if at >= MAX_DEPTH:
        raise PageTooDeep(f"only the first {MAX_DEPTH} titles can be turned to: ask for something narrower")
    return at


def after(start: int, size: int, found: int, asked: str) -> str:
    """Return the token of the page behind; empty where all that was found has been shown.

    The page behind the deepest has a token too, and it is PageTooDeep: so the caller learns that there is more.
    """
    return encode_page_token(f"{asked}/{start + size}") if start + size < found else ""


class Orders:
    """Orders of first pages, as long as there is room. Safe to be used by many threads."""

    def __init__(self) -> None:
        self._orders: Lru[str, Ranked] = Lru(KEPT, lambda ranked: max(len(ranked.ordinals), 1))
        self._lock = threading.Lock()

    def get(self, asked: str) -> Ranked | None:
        """Return the order that the first page of a question had; None where it was forgotten."""
        with self._lock:
            return self._orders.get(asked)

    def put(self, asked: str, ranked: Ranked) -> None:
        """Keep an order."""
        kept = replace(ranked, addresses={})  # the view goes
        with self._lock:
            self._orders.put(asked, kept)


def window(ranked: Ranked, start: int, size: int) -> Sequence[tuple[int, float]]:
    """Return a page of an order: ordinals and scores."""
    return list(zip(ranked.ordinals[start : start + size], ranked.scores[start : start + size], strict=True))
