"""KeyService, LicenseService, CpixService and LicenseDecisionService: proto in, one domain call, proto out."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from reelmesh.drm.cpix import CONTENT_TYPE
from reelmesh.drm.decisions import Decisions
from reelmesh.drm.errors import KeySystemDisabled
from reelmesh.drm.exchange import SPEKE_VERSION, Exchange
from reelmesh.drm.keys import ContentKeys
from reelmesh.drm.licenses import Licenses
from reelmesh.drm.messages import decision_to_proto, key_to_proto, scheme_of
from reelmesh.drm.systems import Challenge, System
from reelmesh.drm.v1 import cpix_service_pb2 as cpix_pb
from reelmesh.drm.v1 import key_service_pb2 as key_pb
from reelmesh.drm.v1 import license_decision_service_pb2 as decision_pb
from reelmesh.drm.v1 import license_service_pb2 as license_pb
from reelmesh.drm.v1.cpix_service_pb2_grpc import CpixServiceServicer
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceServicer
from reelmesh.drm.v1.license_decision_service_pb2_grpc import LicenseDecisionServiceServicer
from reelmesh.drm.v1.license_service_pb2_grpc import LicenseServiceServicer
from reelmesh.mesh import person
from reelmesh.mesh.clock import Clock
from reelmesh.mesh.names import VideoName, decode_page_token, encode_page_token, organization_of

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 100
NOT_STORED = (("cache-control", "no-store"),)
"""No cache may keep an answer with keys. Initial metadata become headers of HTTP."""


class KeyService(KeyServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, keys: ContentKeys) -> None:
        self._keys = keys

    async def CreateContentKeys(
        self, request: key_pb.CreateContentKeysRequest, context: Context
    ) -> key_pb.CreateContentKeysResponse:
        """Make the keys of a video."""
        keys = await self._keys.create(VideoName.parse(request.video), request.labels, scheme_of(request.scheme))
        return key_pb.CreateContentKeysResponse(keys=map(key_to_proto, keys))

    async def GetContentKeys(
        self, request: key_pb.GetContentKeysRequest, context: Context
    ) -> key_pb.GetContentKeysResponse:
        """Return the keys of a video with their values."""
        keys = await self._keys.of(VideoName.parse(request.video))
        return key_pb.GetContentKeysResponse(keys=[key_to_proto(key, key.value) for key in keys.values()])

    async def RewrapContentKeys(
        self, request: key_pb.RewrapContentKeysRequest, context: Context
    ) -> key_pb.RewrapContentKeysResponse:
        """Wrap the keys of some videos under the newest wrapping key."""
        done = await self._keys.rewrap(decode_page_token(request.page_token), request.page_size)
        return key_pb.RewrapContentKeysResponse(
            version=done.version,
            examined=done.examined,
            rewrapped=done.changed,
            next_page_token=encode_page_token(done.further),
        )


class LicenseService(LicenseServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, licenses: Licenses, fairplay_certificate: bytes = b"") -> None:
        self._licenses = licenses
        self.fairplay_certificate = fairplay_certificate
        """In DER; empty where the installation has no FairPlay."""

    async def GetClearKeyLicense(
        self, request: license_pb.GetClearKeyLicenseRequest, context: Context
    ) -> license_pb.GetClearKeyLicenseResponse:
        """Answer a CDM of Clear Key."""
        body = await self._issue(System.CLEAR_KEY, request.token, request.body, context)
        return license_pb.GetClearKeyLicenseResponse(body=body)

    async def GetWidevineLicense(
        self, request: license_pb.GetWidevineLicenseRequest, context: Context
    ) -> license_pb.GetWidevineLicenseResponse:
        """Answer a CDM of Widevine."""
        body = await self._issue(System.WIDEVINE, request.token, request.body, context)
        return license_pb.GetWidevineLicenseResponse(body=body)

    async def GetPlayReadyLicense(
        self, request: license_pb.GetPlayReadyLicenseRequest, context: Context
    ) -> license_pb.GetPlayReadyLicenseResponse:
        """Answer a client of PlayReady."""
        body = await self._issue(System.PLAYREADY, request.token, request.body, context)
        return license_pb.GetPlayReadyLicenseResponse(body=body)

    async def GetFairPlayLicense(
        self, request: license_pb.GetFairPlayLicenseRequest, context: Context
    ) -> license_pb.GetFairPlayLicenseResponse:
        """Answer a device of FairPlay."""
        body = await self._issue(System.FAIRPLAY, request.token, request.body, context, request.asset)
        return license_pb.GetFairPlayLicenseResponse(body=body)

    async def GetFairPlayCertificate(
        self, request: license_pb.GetFairPlayCertificateRequest, context: Context
    ) -> license_pb.GetFairPlayCertificateResponse:
        """Return the certificate that devices of FairPlay need first."""
        if not self.fairplay_certificate:
            raise KeySystemDisabled("this installation gives no licenses of fairplay")
        await context.send_initial_metadata((("cache-control", "public, max-age=86400"),))
        body = HttpBody(content_type="application/pkix-cert", data=self.fairplay_certificate)
        return license_pb.GetFairPlayCertificateResponse(body=body)

    async def _issue(self, system: System, token: str, body: HttpBody, context: Context, asset: str = "") -> HttpBody:
        license_ = await self._licenses.issue(system, token, Challenge(body.data, asset, person.client().address))
        await context.send_initial_metadata(NOT_STORED)
        return HttpBody(content_type=license_.content_type, data=license_.body)


class CpixService(CpixServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def ExchangeSpekeKeys(
        self, request: cpix_pb.ExchangeSpekeKeysRequest, context: Context
    ) -> cpix_pb.ExchangeSpekeKeysResponse:
        """Fill a packager's document."""
        version = _metadata(context, "x-speke-version")
        document = await self._exchange.fill(organization_of(request.parent), version, request.body.data)
        await context.send_initial_metadata((*NOT_STORED, ("x-speke-version", SPEKE_VERSION)))
        return cpix_pb.ExchangeSpekeKeysResponse(body=HttpBody(content_type=CONTENT_TYPE, data=document))

    async def ExportContentKeys(
        self, request: cpix_pb.ExportContentKeysRequest, context: Context
    ) -> cpix_pb.ExportContentKeysResponse:
        """Write all keys of a video into a document."""
        document = await self._exchange.export(VideoName.parse(request.video), request.recipient.data)
        await context.send_initial_metadata(NOT_STORED)
        return cpix_pb.ExportContentKeysResponse(body=HttpBody(content_type=CONTENT_TYPE, data=document))

    async def ImportContentKeys(
        self, request: cpix_pb.ImportContentKeysRequest, context: Context
    ) -> cpix_pb.ImportContentKeysResponse:
        """Take the keys in a document as those of a video."""
        keys = await self._exchange.take(VideoName.parse(request.video), request.body.data)
        return cpix_pb.ImportContentKeysResponse(keys=map(key_to_proto, keys))


class LicenseDecisionService(LicenseDecisionServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, decisions: Decisions, clock: Clock) -> None:
        self._decisions = decisions
        self._clock = clock

    async def ListLicenseDecisions(
        self, request: decision_pb.ListLicenseDecisionsRequest, context: Context
    ) -> decision_pb.ListLicenseDecisionsResponse:
        """List what was decided."""
        found, further = await self._decisions.page(
            organization_of(request.parent),
            request.start_time.ToDatetime(UTC) if request.HasField("start_time") else None,
            request.end_time.ToDatetime(UTC) if request.HasField("end_time") else self._clock.now(),
            decode_page_token(request.page_token),
            request.page_size or PAGE_SIZE,
        )
        return decision_pb.ListLicenseDecisionsResponse(
            decisions=map(decision_to_proto, found), next_page_token=encode_page_token(further)
        )


def _metadata(context: Context, name: str) -> str:
    """Return what a request's header says; empty where it is not there."""
    metadata: Any = context.invocation_metadata() or ()
    return next((value for key, value in metadata if key == name), "")
