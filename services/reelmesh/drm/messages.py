"""Keys and decisions as the contracts write them."""

from __future__ import annotations

from datetime import UTC

from reelmesh.drm.decisions import Decision
from reelmesh.drm.model import ContentKey, Scheme
from reelmesh.drm.pssh import boxes
from reelmesh.drm.systems import System
from reelmesh.drm.v1 import content_key_pb2
from reelmesh.drm.v1.license_decision_pb2 import LicenseDecision
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.names import SessionName, VideoName

_SCHEMES = {Scheme.CBCS: Protection.SCHEME_CBCS, Scheme.CENC: Protection.SCHEME_CENC}
_SCHEMES_BACK = {number: scheme for scheme, number in _SCHEMES.items()}
_SYSTEMS = {
    System.CLEAR_KEY: LicenseDecision.KEY_SYSTEM_CLEAR_KEY,
    System.WIDEVINE: LicenseDecision.KEY_SYSTEM_WIDEVINE,
    System.PLAYREADY: LicenseDecision.KEY_SYSTEM_PLAYREADY,
    System.FAIRPLAY: LicenseDecision.KEY_SYSTEM_FAIRPLAY,
}
_SYSTEMS_BACK = {number: system for system, number in _SYSTEMS.items()}


def scheme_of(number: Protection.Scheme.ValueType) -> Scheme:
    """Return the scheme that a request names; the contract admits no other."""
    return _SCHEMES_BACK[number]


def key_to_proto(key: ContentKey, value: bytes = b"") -> content_key_pb2.ContentKey:
    """Write a key, without its value unless that is given."""
    message = content_key_pb2.ContentKey(
        key_id=key.key_id,
        label=key.label,
        value=value,
        scheme=_SCHEMES[key.scheme],
        iv=key.iv,
        pssh=boxes(key.key_id, key.scheme).values(),
    )
    message.create_time.FromDatetime(key.create_time)
    return message


def decision_to_proto(decision: Decision) -> LicenseDecision:
    """Write a decision."""
    message = LicenseDecision(
        id=decision.id,
        session=str(decision.session),
        video=str(decision.video),
        viewer=decision.viewer,
        key_system=_SYSTEMS[decision.system],
        granted=not decision.reason,
        reason=decision.reason,
        key_ids=decision.key_ids,
        persistent=decision.persistent,
        client_address=decision.client,
    )
    message.time.FromDatetime(decision.time)
    return message


def encode(decision: Decision) -> bytes:
    """Write a decision as it is kept and published."""
    return decision_to_proto(decision).SerializeToString()


def decode(data: bytes) -> Decision:
    """Read what `encode` wrote."""
    message = LicenseDecision.FromString(data)
    return Decision(
        id=message.id,
        time=message.time.ToDatetime(UTC),
        session=SessionName.parse(message.session),
        video=VideoName.parse(message.video),
        viewer=message.viewer,
        system=_SYSTEMS_BACK[message.key_system],
        persistent=message.persistent,
        client=message.client_address,
        reason=message.reason,
        key_ids=tuple(message.key_ids),
    )
