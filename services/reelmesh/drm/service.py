"""KeyService and LicenseService: proto in, one domain call, proto out."""

from __future__ import annotations

from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.licenses import Licenses
from reelmesh.drm.model import ContentKey, Scheme
from reelmesh.drm.pssh import boxes
from reelmesh.drm.systems import Challenge, License, System
from reelmesh.drm.v1 import content_key_pb2
from reelmesh.drm.v1 import key_service_pb2 as key_pb
from reelmesh.drm.v1 import license_service_pb2 as license_pb
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceServicer
from reelmesh.drm.v1.license_service_pb2_grpc import LicenseServiceServicer
from reelmesh.media.v1.media_pb2 import Protection
from reelmesh.mesh.names import VideoName

Context = grpc.aio.ServicerContext[Any, Any]

_SCHEMES = {Scheme.CBCS: Protection.SCHEME_CBCS, Scheme.CENC: Protection.SCHEME_CENC}
_FROM_PROTO = {number: scheme for scheme, number in _SCHEMES.items()}


class KeyService(KeyServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, keys: ContentKeys) -> None:
        self._keys = keys

    async def CreateContentKeys(
        self, request: key_pb.CreateContentKeysRequest, context: Context
    ) -> key_pb.CreateContentKeysResponse:
        """Make the keys of a video."""
        video, scheme = VideoName.parse(request.video), _FROM_PROTO[request.scheme]
        keys = await self._keys.create(video, request.labels, scheme)
        return key_pb.CreateContentKeysResponse(keys=[_to_proto(key) for key in keys])

    async def GetContentKeys(
        self, request: key_pb.GetContentKeysRequest, context: Context
    ) -> key_pb.GetContentKeysResponse:
        """Return the keys of a video with their values."""
        keys = await self._keys.of(VideoName.parse(request.video))
        return key_pb.GetContentKeysResponse(keys=[_to_proto(key, key.value) for key in keys.values()])


class LicenseService(LicenseServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, licenses: Licenses) -> None:
        self._licenses = licenses

    async def GetClearKeyLicense(
        self, request: license_pb.GetClearKeyLicenseRequest, context: Context
    ) -> license_pb.GetClearKeyLicenseResponse:
        """Answer a CDM of Clear Key."""
        license_ = await self._licenses.issue(System.CLEAR_KEY, request.token, Challenge(request.body.data))
        return license_pb.GetClearKeyLicenseResponse(body=await _body(license_, context))


async def _body(license_: License, context: Context) -> HttpBody:
    """Forbid every cache to keep a license (initial metadata becomes HTTP headers), and return it."""
    await context.send_initial_metadata((("cache-control", "no-store"),))
    return HttpBody(content_type=license_.content_type, data=license_.body)


def _to_proto(key: ContentKey, value: bytes = b"") -> content_key_pb2.ContentKey:
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
