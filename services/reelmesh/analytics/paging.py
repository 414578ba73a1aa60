"""Page tokens of reports: they hold what "now" was on the first page, so that all pages are of one span."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from google.protobuf.message import Message

from reelmesh.analytics.spans import Span
from reelmesh.mesh.errors import PageTokenInvalid
from reelmesh.mesh.names import decode_page_token, encode_page_token

_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page begins."""

    span: Span
    """What the first page was asked for."""
    after: str = ""
    """Where in the list; empty at its beginning."""


def fingerprint(request: Message) -> str:
    """Say what a list is asked for, pages apart: a token is good for the same question only."""
    plain = type(request)()
    plain.CopyFrom(request)
    plain.ClearField("page_token")
    plain.ClearField("page_size")
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()[: 2 * _DIGEST]


def encode(page: Page, asked: str) -> str:
    """Make a token for the question that `asked` is the fingerprint of."""
    return encode_page_token(f"{asked}/{page.span.start}/{page.span.end}/{page.after}")


def decode(token: str, asked: str, span: Span) -> Page:
    """Read a token; without one, `span` from its beginning. Raises PageTokenInvalid."""
    if not token:
        return Page(span)
    try:
        fingerprint_, start, end, after = decode_page_token(token).split("/")
        page = Page(Span(int(start), int(end)), after)
    except ValueError as error:
        raise PageTokenInvalid("page_token was not made by this list") from error
    if fingerprint_ != asked or not page.after or not 0 <= page.span.start <= page.span.end < 1 << 32:
        raise PageTokenInvalid("page_token was made for another question")
    return page
