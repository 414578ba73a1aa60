"""PolicyService and EntitlementService: proto in, one domain call, proto out."""

from __future__ import annotations

from typing import Any

import grpc

from reelmesh.billing.entitlements import Entitlements
from reelmesh.billing.grants import Grants
from reelmesh.billing.messages import decision_to_proto, grant_to_proto, policy_to_proto, terms_from_proto, time_of
from reelmesh.billing.model import GrantName, PolicyName, Viewer
from reelmesh.billing.policies import Policies
from reelmesh.billing.v1 import entitlement_service_pb2 as pb
from reelmesh.billing.v1 import policy_service_pb2 as policy_pb
from reelmesh.billing.v1.entitlement_service_pb2_grpc import EntitlementServiceServicer
from reelmesh.billing.v1.policy_service_pb2_grpc import PolicyServiceServicer
from reelmesh.mesh import person
from reelmesh.mesh.names import VideoName, decode_page_token, encode_page_token, organization_of
from reelmesh.mesh.person import Role

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50
UNNAMED = "unnamed"
"""The one device of a viewer whose clients keep no name for theirs."""


class PolicyService(PolicyServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    async def SetPolicy(self, request: policy_pb.SetPolicyRequest, context: Context) -> policy_pb.SetPolicyResponse:
        """Make a version."""
        asked = request.policy
        policy = await self._policies.set(PolicyName.parse(asked.name), terms_from_proto(asked))
        return policy_pb.SetPolicyResponse(policy=policy_to_proto(policy))

    async def GetPolicy(self, request: policy_pb.GetPolicyRequest, context: Context) -> policy_pb.GetPolicyResponse:
        """Return a version."""
        policy = await self._policies.get(PolicyName.parse(request.name), request.version)
        return policy_pb.GetPolicyResponse(policy=policy_to_proto(policy))

    async def ListPolicies(
        self, request: policy_pb.ListPoliciesRequest, context: Context
    ) -> policy_pb.ListPoliciesResponse:
        """List an organization's policies."""
        policies, further = await self._policies.list(
            organization_of(request.parent), request.page_size or PAGE_SIZE, decode_page_token(request.page_token)
        )
        return policy_pb.ListPoliciesResponse(
            policies=map(policy_to_proto, policies), next_page_token=encode_page_token(further)
        )

    async def SetVideoPolicy(
        self, request: policy_pb.SetVideoPolicyRequest, context: Context
    ) -> policy_pb.SetVideoPolicyResponse:
        """Say which policy governs a video."""
        policy = PolicyName.parse(request.policy) if request.policy else None
        await self._policies.assign(VideoName.parse(request.video), policy)
        return policy_pb.SetVideoPolicyResponse()


class EntitlementService(EntitlementServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, entitlements: Entitlements, grants: Grants) -> None:
        self._entitlements = entitlements
        self._grants = grants

    async def Check(self, request: pb.CheckRequest, context: Context) -> pb.CheckResponse:
        """Decide."""
        video, viewer = _who(request)
        return pb.CheckResponse(decision=decision_to_proto(await self._entitlements.check(video, viewer)))

    async def Begin(self, request: pb.BeginRequest, context: Context) -> pb.BeginResponse:
        """Decide, and note that a viewing begins."""
        video, viewer = _who(request)
        return pb.BeginResponse(decision=decision_to_proto(await self._entitlements.begin(video, viewer)))

    async def CreateGrant(self, request: pb.CreateGrantRequest, context: Context) -> pb.CreateGrantResponse:
        """Give a viewer something."""
        asked = request.grant
        grant = await self._grants.give(
            organization_of(request.parent),
            request.user,
            asked.plan,
            VideoName.parse(asked.video) if asked.video else None,
            time_of(asked.expire_time) if asked.HasField("expire_time") else None,
            request.request_id,
        )
        return pb.CreateGrantResponse(grant=grant_to_proto(grant))

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        """Take a grant back."""
        return pb.RevokeGrantResponse(grant=grant_to_proto(await self._grants.revoke(GrantName.parse(request.name))))

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        """List what a viewer has."""
        grants, further = await self._grants.list(
            organization_of(request.parent),
            request.user,
            request.page_size or PAGE_SIZE,
            decode_page_token(request.page_token),
        )
        return pb.ListGrantsResponse(grants=map(grant_to_proto, grants), next_page_token=encode_page_token(further))


def _who(request: pb.CheckRequest | pb.BeginRequest) -> tuple[VideoName, Viewer]:
    """Read who wants to watch what. A person's role is what their token says, whatever they write."""
    video = VideoName.parse(request.watch.video)
    caller = person.current()
    role = caller.role_in(video.organization) if caller else Role(request.role or Role.ANONYMOUS)
    return video, Viewer(request.user, role, request.watch.country, request.watch.device or UNNAMED)
