"""Accounts and organizations as the contract writes them."""

from __future__ import annotations

from collections.abc import Iterable

from reelmesh.annotations.v1 import annotations_pb2
from reelmesh.identity.model import Device, Member, Membership, Organization, ServiceAccount, Tokens, User
from reelmesh.identity.v1 import organization_pb2, user_pb2
from reelmesh.mesh.person import Role


def user_to_proto(user: User, memberships: Iterable[Membership]) -> user_pb2.User:
    """Write an account."""
    message = user_pb2.User(
        name=user.name,
        email=user.email,
        display_name=user.display_name,
        email_verified=user.email_verified,
        totp_enabled=bool(user.totp_secret),
        memberships=[
            user_pb2.Membership(organization=f"organizations/{m.organization}", role=role_to_proto(m.role))
            for m in memberships
        ],
    )
    message.create_time.FromDatetime(user.create_time)
    return message


def tokens_to_proto(tokens: Tokens) -> user_pb2.Tokens:
    """Write a pair of tokens."""
    message = user_pb2.Tokens(access_token=tokens.access, refresh_token=tokens.refresh)
    message.access_expire_time.FromDatetime(tokens.access_expire_time)
    if tokens.refresh_expire_time:
        message.refresh_expire_time.FromDatetime(tokens.refresh_expire_time)
    return message


def device_to_proto(device: Device) -> user_pb2.Device:
    """Write a device."""
    message = user_pb2.Device(
        name=f"users/{device.user}/devices/{device.id}", display_name=device.display_name, address=device.address
    )
    message.create_time.FromDatetime(device.create_time)
    message.refresh_time.FromDatetime(device.refresh_time)
    message.expire_time.FromDatetime(device.expire_time)
    return message


def organization_to_proto(organization: Organization) -> organization_pb2.Organization:
    """Write an organization."""
    message = organization_pb2.Organization(
        name=f"organizations/{organization.id}",
        display_name=organization.display_name,
        open_registration=organization.open_registration,
    )
    message.create_time.FromDatetime(organization.create_time)
    return message


def member_to_proto(member: Member) -> organization_pb2.Member:
    """Write a member."""
    return organization_pb2.Member(
        name=f"organizations/{member.organization}/members/{member.user}",
        user=f"users/{member.user}",
        email=member.email,
        role=role_to_proto(member.role),
    )


def service_account_to_proto(account: ServiceAccount) -> organization_pb2.ServiceAccount:
    """Write a service account."""
    message = organization_pb2.ServiceAccount(
        name=account.name,
        display_name=account.display_name,
        role=role_to_proto(account.role),
        scopes=account.scopes,
    )
    message.create_time.FromDatetime(account.create_time)
    return message


def role_to_proto(role: Role) -> annotations_pb2.Role.ValueType:
    """Write a role: the numbers are the same."""
    return annotations_pb2.Role.Value(f"ROLE_{role.name}")


def role_from_proto(role: annotations_pb2.Role.ValueType) -> Role:
    """Read a role."""
    return Role(role)
