"""The platform as a client sees it: the gateway's gRPC and HTTP, nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
import httpx
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from reelmesh.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from reelmesh.analytics.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from reelmesh.billing.v1.checkout_service_pb2_grpc import CheckoutServiceStub
from reelmesh.billing.v1.entitlement_service_pb2_grpc import EntitlementServiceStub
from reelmesh.billing.v1.policy_service_pb2_grpc import PolicyServiceStub
from reelmesh.catalog.v1.library_service_pb2_grpc import LibraryServiceStub
from reelmesh.catalog.v1.title_service_pb2_grpc import TitleServiceStub
from reelmesh.catalog.v1.video_service_pb2_grpc import VideoServiceStub
from reelmesh.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from reelmesh.identity.v1.account_service_pb2_grpc import AccountServiceStub
from reelmesh.identity.v1.organization_service_pb2_grpc import OrganizationServiceStub
from reelmesh.ingest.v1.upload_service_pb2_grpc import UploadServiceStub
from reelmesh.playback.v1.playback_service_pb2_grpc import PlaybackServiceStub
from reelmesh.recommend.v1.model_service_pb2_grpc import ModelServiceStub
from reelmesh.recommend.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from reelmesh.transcode.v1.job_service_pb2_grpc import JobServiceStub
from reelmesh_tools.client.signing import Signer
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.owner import Credentials

CALL_SECONDS = 20.0
"""Deadline of a unary call."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the platform said it."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str]

    @property
    def passing(self) -> bool:
        """True when the same call may succeed later."""
        return self.code in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
        }

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


def problem_of(error: grpc.RpcError) -> Problem:
    """Read the status, its ErrorInfo and its message out of a failed call."""
    call: Any = error
    found = Problem(call.code(), "", call.details() or "", {})
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        return found  # the trailer belongs to another status: a proxy spoke
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return Problem(found.code, info.reason, found.message, dict(info.metadata))
    return found


class Platform:
    """Clients for every public service, over one channel to the gateway; signed, where there is an API key."""

    def __init__(self, url: str, api_key: str = "", organization: str = "default") -> None:
        self.url = url.rstrip("/")
        self.parent = f"organizations/{organization}"
        self._plain = grpc.insecure_channel(urlsplit(url).netloc)
        signer = Signer(self._plain, api_key) if api_key else None
        self.channel = signer.signed(self._plain) if signer else self._plain
        self.accounts = AccountServiceStub(self.channel)
        self.organizations = OrganizationServiceStub(self.channel)
        self.uploads = UploadServiceStub(self.channel)
        self.jobs = JobServiceStub(self.channel)
        self.videos = VideoServiceStub(self.channel)
        self.titles = TitleServiceStub(self.channel)
        self.discovery = DiscoveryServiceStub(self.channel)
        self.library = LibraryServiceStub(self.channel)
        self.playback = PlaybackServiceStub(self.channel)
        self.policies = PolicyServiceStub(self.channel)
        self.entitlements = EntitlementServiceStub(self.channel)
        self.checkout = CheckoutServiceStub(self.channel)
        self.analytics = AnalyticsServiceStub(self.channel)
        self.experiments = ExperimentServiceStub(self.channel)
        self.models = ModelServiceStub(self.channel)
        self.recommendations = RecommendationServiceStub(self.channel)
        self.unsigned_recommendations = RecommendationServiceStub(self._plain)
        """For who did not sign in: a viewer whom a client names."""
        self.http = httpx.Client(timeout=CALL_SECONDS, trust_env=False)
        """For addresses that carry their token, as players fetch them."""
        self.signed_http = httpx.Client(timeout=CALL_SECONDS, trust_env=False, auth=signer)
        """For rpcs by HTTP."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the platform behind REELMESH_URL, or on this machine behind REELMESH_PORT (8080).

        Calls are signed with REELMESH_API_KEY, or with the key that the local stack's owner has.
        """
        port = environment.get("REELMESH_PORT") or "8080"
        url, key = environment.get("REELMESH_URL"), environment.get("REELMESH_API_KEY")
        if url or key:
            return cls(url or f"http://127.0.0.1:{port}", key or "")
        return cls.of_stack(Layout.from_environment(environment), f"http://127.0.0.1:{port}")

    @classmethod
    def of_stack(cls, layout: Layout, url: str) -> Self:
        """Return a local stack's platform, signed in as its owner's program."""
        credentials = Credentials.load(layout.credentials_file)
        return cls(url, credentials.api_key if credentials else "")

    def video_name(self, video: str) -> str:
        """Return the resource name of a video given by name or by id alone."""
        return video if "/" in video else f"{self.parent}/videos/{video}"

    def watch_url(self, video: str) -> str:
        """Return the page that plays a video."""
        return f"{self.url}/watch/{video.rsplit('/', 1)[-1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signed_http.close()
        self.http.close()
        self._plain.close()
