"""Reads key-value pairs as CMCD writes them: a dictionary of structured fields (RFC 8941), one in a line or a query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_CHARACTERS = 8192
"""Longest text that is read."""

_KEY = r"[a-z*][a-z0-9_.*-]*"
_ITEM = r'(?:-?\d{1,15}(?:\.\d{1,3})?(?![\w.])|"(?:[^"\\]|\\["\\])*"|\?[01]|[A-Za-z*][\w!#$%&\'*+.^`|~:/-]*)'
_PARAMETERS = rf"(?:;{_KEY}(?:={_ITEM})?)*"
_MEMBER = re.compile(
    rf"[ \t]*({_KEY})(?:=(?:\([ ]*((?:{_ITEM}{_PARAMETERS}[ ]*)*)\)|({_ITEM})))?{_PARAMETERS}[ \t]*(?:,|$)"
)
_ELEMENT = re.compile(rf"({_ITEM}){_PARAMETERS}[ ]*")
_CUSTOM = re.compile(r"[a-z0-9.-]+-[a-z0-9.-]+")
"""Keys of one's own: a reverse domain name, a hyphen, a name."""

# fmt: off
REQUEST_KEYS = frozenset(
    {
        "ab", "bg", "bl", "br", "bs", "bsa", "bsd", "bsda", "cdn", "cid", "cs", "d", "dfa", "dl", "ec", "lab",
        "lb", "ltc", "msd", "mtp", "nor", "nr", "nrr", "ot", "pb", "pr", "pt", "rtp", "sf", "sid", "sn", "st",
        "sta", "su", "tab", "tb", "tbl", "tpb", "v",
    }
)
EVENT_KEYS = REQUEST_KEYS | frozenset(
    {
        "cen", "cmsdd", "cmsds", "e", "h", "rc", "smrt", "ts", "ttfb", "ttfbb", "ttlb", "url",
    }
)
# fmt: on

Value = str | bool | int | float
"""Of one item: text (a string or a token), or a number."""


class Unreadable(Exception):
    """The text is not what it should be; `reason` and `key` are as Refusal has them."""

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(f"{key}: {reason}")
        self.reason = reason
        self.key = key


@dataclass(frozen=True, slots=True)
class Pairs:
    """Values by key; a key may have several, for several kinds of object."""

    values: Mapping[str, Sequence[Value]]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str) -> str:
        """Return a text; empty where the key is not there. Raises Unreadable."""
        value = self.values.get(key, ("",))[0]
        if not isinstance(value, str):
            raise Unreadable("VALUE_UNREADABLE", key)
        return value

    def written(self, key: str) -> str:
        """Return a text, whether it looks like a number or not, such as a code; empty where the key is not there."""
        return str(self.values.get(key, ("",))[0])

    def flag(self, key: str) -> bool:
        """Return whether a key is there and not false. Raises Unreadable."""
        value = self.values.get(key, (False,))[0]
        if not isinstance(value, bool):
            raise Unreadable("VALUE_UNREADABLE", key)
        return value

    def numbers(self, key: str) -> list[float]:
        """Return the numbers of a key, none negative; nothing where it is not there. Raises Unreadable."""
        found: list[float] = []
        for value in self.values.get(key, ()):
            if value in ("NaN", "Infinity"):
                raise Unreadable("NOT_FINITE", key)
            if isinstance(value, bool | str):
                raise Unreadable("VALUE_UNREADABLE", key)
            if value < 0:
                raise Unreadable("NEGATIVE", key)
            found.append(value)
        return found

    def most(self, key: str) -> int:
        """Return the largest number of a key; 0 where it is not there. Raises Unreadable."""
        return round(max(self.numbers(key), default=0))

    def least(self, key: str) -> int:
        """Return the smallest number of a key; 0 where it is not there. Raises Unreadable."""
        return round(min(self.numbers(key), default=0))

    def total(self, key: str) -> int:
        """Return the sum of the numbers of a key, such as the bitrates of picture and sound. Raises Unreadable."""
        return round(sum(self.numbers(key)))


def read(text: str, known: frozenset[str]) -> Pairs:
    """Read pairs of which each key is `known` or someone's own. Raises Unreadable."""
    if len(text) > MOST_CHARACTERS:
        raise Unreadable("LINE_UNREADABLE")
    values: dict[str, Sequence[Value]] = {}
    position = 0
    while position < len(text):
        found = _MEMBER.match(text, position)
        if found is None:
            raise Unreadable("LINE_UNREADABLE")
        position = found.end()
        key, several, one = found.groups()
        if key not in known and not _CUSTOM.fullmatch(key):
            raise Unreadable("UNKNOWN_KEY", key[:64])
        if several is not None:
            values[key] = [_value(element) for element in _ELEMENT.findall(several)]
        else:
            values[key] = [True if one is None else _value(one)]
    return Pairs({key: value for key, value in values.items() if value})


def _value(item: str) -> Value:
    if item[0] == '"':
        return re.sub(r"\\(.)", r"\1", item[1:-1])
    if item[0] == "?":
        return item == "?1"
    if item[0] == "-" or item[0].isdigit():
        return float(item) if "." in item else int(item)
    return item
