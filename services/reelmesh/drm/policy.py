"""What a device must be able to do to get a key: the terms that go with it into a license."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum


class Hdcp(Enum):
    """Protection of a digital output, by the least version that suffices. Values are Widevine's names."""

    NONE = "HDCP_NONE"
    V1 = "HDCP_V1"
    V2 = "HDCP_V2"
    V2_1 = "HDCP_V2_1"
    V2_2 = "HDCP_V2_2"
    V2_3 = "HDCP_V2_3"


TYPE_1 = frozenset({Hdcp.V2_2, Hdcp.V2_3})
"""What HDCP itself calls content of type 1, which goes to outputs of version 2.2 or later only."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of one key."""

    hdcp: Hdcp
    hardware: bool
    """Whether it is decrypted and decoded in hardware only."""


class Policy:
    """Terms by label."""

    def __init__(self, hdcp: Mapping[str, Hdcp], hardware: Set[str]) -> None:
        """Labels that `hdcp` leaves out need none; `hardware` are the labels that need it."""
        self._hdcp = hdcp
        self._hardware = hardware

    def terms(self, label: str) -> Terms:
        """Return the terms of a label's key."""
        return Terms(self._hdcp.get(label, Hdcp.NONE), label in self._hardware)
