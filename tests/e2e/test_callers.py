"""Inside the mesh: every rpc of every service, called by every identity."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rpc_world import admits, channel, methods

from reelmesh.mesh.person import HEADER
from reelmesh_tools.stack import certificates
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.plan import LISTENING_SERVICES

pytestmark = [pytest.mark.stack]

PEOPLE = "gateway"
OPERATOR = base64.urlsafe_b64encode(b'{"iss": "reelmesh", "sub": "users/1", "operator": true}').decode().rstrip("=")
"""What the gateway says of someone who may do everything; from another service it must count for nothing."""
ADMITTED = {
    ("cli", "reelmesh.discovery.v1.IndexService/GetIndex"),
    ("cli", "reelmesh.discovery.v1.IndexService/RebuildIndex"),
    ("cli", "reelmesh.discovery.v1.IndexService/WatchIndex"),
    ("cli", "reelmesh.drm.v1.KeyService/RewrapContentKeys"),
    ("cli", "reelmesh.identity.v1.BootstrapService/Bootstrap"),
    ("playback", "reelmesh.analytics.v1.ExperimentService/AssignExperiments"),
    ("playback", "reelmesh.billing.v1.EntitlementService/Begin"),
    ("playback", "reelmesh.billing.v1.EntitlementService/Check"),
    ("playback", "reelmesh.billing.v1.UsageService/RecordViewing"),
    ("playback", "reelmesh.catalog.v1.VideoService/GetVideo"),
    ("playback", "reelmesh.transcode.v1.SegmentIndexService/GetSegmentIndex"),
    ("discovery", "reelmesh.analytics.v1.AudienceService/ExportPopularity"),
    ("recommend", "reelmesh.analytics.v1.AudienceService/ExportInteractions"),
    ("recommend", "reelmesh.analytics.v1.AudienceService/ExportPopularity"),
    ("recommend", "reelmesh.analytics.v1.ExperimentService/AssignExperiments"),
    ("recommend", "reelmesh.discovery.v1.DiscoveryService/BatchGetTitles"),
    ("recommend", "reelmesh.discovery.v1.DiscoveryService/Browse"),
    ("recommend", "reelmesh.playback.v1.PlaybackService/ListWatchHistory"),
    ("transcode", "reelmesh.drm.v1.KeyService/CreateContentKeys"),
    ("worker", "reelmesh.drm.v1.KeyService/GetContentKeys"),
    ("worker", "reelmesh.transcode.v1.TaskService/KeepTask"),
    ("worker", "reelmesh.transcode.v1.TaskService/StartTask"),
}
"""What services call of each other. Everything else is for people, who come through the gateway."""
INTERNAL = {
    "reelmesh.analytics.v1.AudienceService/ExportInteractions",
    "reelmesh.analytics.v1.AudienceService/ExportPopularity",
    "reelmesh.analytics.v1.ExperimentService/AssignExperiments",
    "reelmesh.billing.v1.UsageService/RecordViewing",
    "reelmesh.billing.v1.EntitlementService/Begin",
    "reelmesh.discovery.v1.DiscoveryService/BatchGetTitles",
    "reelmesh.discovery.v1.IndexService/GetIndex",
    "reelmesh.discovery.v1.IndexService/RebuildIndex",
    "reelmesh.discovery.v1.IndexService/WatchIndex",
    "reelmesh.identity.v1.BootstrapService/Bootstrap",
    "reelmesh.drm.v1.KeyService/CreateContentKeys",
    "reelmesh.drm.v1.KeyService/GetContentKeys",
    "reelmesh.playback.v1.PlaybackService/ListWatchHistory",
    "reelmesh.transcode.v1.SegmentIndexService/GetSegmentIndex",
    "reelmesh.transcode.v1.TaskService/KeepTask",
    "reelmesh.transcode.v1.TaskService/StartTask",
}
"""What is not for people."""


def call(opened: grpc.Channel, method: MethodDescriptor) -> tuple[grpc.StatusCode, str]:
    """Call an rpc with an empty message for an operator; return the code and the reason of its answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    sends = iter([b""]) if method.client_streaming else b""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    try:
        answer = getattr(opened, kind)(path)(sends, timeout=20, metadata=((HEADER, OPERATOR),))
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        failed: Any = error
        status = rpc_status.from_call(failed)
        info = error_details_pb2.ErrorInfo()
        known = status is not None and status.details and status.details[0].Unpack(info)
        return failed.code(), info.reason if known else ""
    return grpc.StatusCode.OK, ""


def test_every_identity_calls_every_rpc_and_only_the_contract_s_callers_are_admitted(stack: Stack) -> None:
    tried, refused = 0, 0
    admitted: set[tuple[str, str]] = set()
    rpcs: set[str] = set()
    for service in LISTENING_SERVICES:
        for identity in certificates.IDENTITIES:
            with channel(stack, service, stack.layout.certificates, identity) as opened:
                for method in methods(opened):
                    name = f"{method.containing_service.full_name}/{method.name}"
                    rpcs.add(name)
                    tried += 1
                    code, reason = call(opened, method)
                    if (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED"):
                        refused += 1
                    else:
                        assert admits(code.name, reason), f"{identity} {name}: {code} {reason}"
                        admitted.add((identity, name))
    print(json.dumps({"rpcs": len(rpcs), "pairs": tried, "refused": refused, "admitted": len(admitted)}))  # noqa: T201
    assert rpcs > INTERNAL
    assert {pair for pair in admitted if pair[0] != PEOPLE} == ADMITTED
    assert {name for identity, name in admitted if identity == PEOPLE} == rpcs - INTERNAL
    assert refused == tried - len(admitted)


@pytest.mark.parametrize("service", LISTENING_SERVICES)
def test_who_has_no_certificate_of_ours_does_not_even_connect(stack: Stack, service: str, tmp_path: Path) -> None:
    certificates.ensure(tmp_path, dt.datetime.now(dt.UTC))
    authority = grpc.ssl_channel_credentials((stack.layout.certificates / "ca.pem").read_bytes())
    options = [("grpc.ssl_target_name_override", f"{service}.mesh")]
    address = stack.plan.address(service)
    strangers = {
        "another authority's": channel(stack, service, tmp_path, "gateway"),
        "none": grpc.secure_channel(address, authority, options=options),
        "plain text": grpc.insecure_channel(address),
    }
    for name, opened in strangers.items():
        with opened:
            check: Any = opened.unary_unary("/grpc.health.v1.Health/Check")
            with pytest.raises(grpc.RpcError) as caught:
                check(b"", timeout=5)
            failed: Any = caught.value
            assert failed.code() is grpc.StatusCode.UNAVAILABLE, name
