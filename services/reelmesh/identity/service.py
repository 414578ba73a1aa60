"""AccountService, OrganizationService and BootstrapService: proto in, one domain call, proto out."""

from __future__ import annotations

import json
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from reelmesh.identity.accounts import Accounts
from reelmesh.identity.bootstrap import Bootstrap
from reelmesh.identity.errors import UserUnknown
from reelmesh.identity.messages import (
    device_to_proto,
    member_to_proto,
    organization_to_proto,
    role_from_proto,
    service_account_to_proto,
    tokens_to_proto,
    user_to_proto,
)
from reelmesh.identity.model import Member, User
from reelmesh.identity.organizations import Organizations
from reelmesh.identity.signing import SignIns
from reelmesh.identity.tokens import TokenMaker
from reelmesh.identity.totp import Totp
from reelmesh.identity.v1 import account_service_pb2 as pb
from reelmesh.identity.v1 import bootstrap_service_pb2 as bootstrap_pb
from reelmesh.identity.v1 import organization_service_pb2 as organization_pb
from reelmesh.identity.v1.account_service_pb2_grpc import AccountServiceServicer
from reelmesh.identity.v1.bootstrap_service_pb2_grpc import BootstrapServiceServicer
from reelmesh.identity.v1.organization_service_pb2_grpc import OrganizationServiceServicer
from reelmesh.mesh import person
from reelmesh.mesh.names import decode_page_token, encode_page_token, organization_of
from reelmesh.mesh.person import Role

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 50
JSON = "application/json"


class AccountService(AccountServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(
        self, accounts: Accounts, sign_ins: SignIns, totp: Totp, organizations: Organizations, tokens: TokenMaker
    ) -> None:
        self._accounts = accounts
        self._sign_ins = sign_ins
        self._totp = totp
        self._organizations = organizations
        self._tokens = tokens

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        """Make an account."""
        done = await self._accounts.register(
            request.email,
            request.password,
            request.display_name,
            organization_of(request.organization),
            request.device,
            person.client().address,
        )
        return pb.RegisterResponse(user=user_to_proto(done.user, done.memberships), tokens=tokens_to_proto(done.tokens))

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, context: Context) -> pb.VerifyEmailResponse:
        """Confirm an address."""
        return pb.VerifyEmailResponse(user=user_to_proto(*await self._accounts.verify_email(request.token)))

    async def LogIn(self, request: pb.LogInRequest, context: Context) -> pb.LogInResponse:
        """Sign in."""
        done = await self._sign_ins.log_in(
            request.email, request.password, request.totp_code, request.device, person.client().address
        )
        return pb.LogInResponse(user=user_to_proto(done.user, done.memberships), tokens=tokens_to_proto(done.tokens))

    async def RefreshTokens(self, request: pb.RefreshTokensRequest, context: Context) -> pb.RefreshTokensResponse:
        """Give the next pair of tokens."""
        done = await self._sign_ins.refresh(request.refresh_token)
        return pb.RefreshTokensResponse(
            tokens=tokens_to_proto(done.tokens), user=user_to_proto(done.user, done.memberships)
        )

    async def LogOut(self, request: pb.LogOutRequest, context: Context) -> pb.LogOutResponse:
        """Sign out."""
        await self._sign_ins.log_out(request.refresh_token)
        return pb.LogOutResponse()

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: Context
    ) -> pb.RequestPasswordResetResponse:
        """Mail a token."""
        await self._accounts.request_password_reset(request.email)
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> pb.ResetPasswordResponse:
        """Set a password by a mailed token."""
        await self._accounts.reset_password(request.token, request.password)
        return pb.ResetPasswordResponse()

    async def ExchangeApiKey(self, request: pb.ExchangeApiKeyRequest, context: Context) -> pb.ExchangeApiKeyResponse:
        """Give a service account an access token."""
        tokens = await self._organizations.exchange(request.api_key)
        return pb.ExchangeApiKeyResponse(tokens=tokens_to_proto(tokens))

    async def GetJsonWebKeySet(
        self, request: pb.GetJsonWebKeySetRequest, context: Context
    ) -> pb.GetJsonWebKeySetResponse:
        """Return the public keys."""
        await context.send_initial_metadata((("cache-control", "public, max-age=300"),))
        body = HttpBody(content_type=JSON, data=json.dumps(dict(self._tokens.jwks())).encode())
        return pb.GetJsonWebKeySetResponse(body=body)

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        """Return an account."""
        return pb.GetUserResponse(user=user_to_proto(*await self._accounts.get(_user_id(request.name))))

    async def ChangePassword(self, request: pb.ChangePasswordRequest, context: Context) -> pb.ChangePasswordResponse:
        """Set a password by the present one."""
        caller = person.current()
        await self._accounts.change_password(
            _user_id(request.name),
            request.current_password,
            request.new_password,
            person.client().address,
            caller.session if caller else "",
        )
        return pb.ChangePasswordResponse()

    async def BeginTotp(self, request: pb.BeginTotpRequest, context: Context) -> pb.BeginTotpResponse:
        """Make the secret of a second factor."""
        secret, uri = await self._totp.begin(await self._user(request.name))
        return pb.BeginTotpResponse(secret=secret, uri=uri)

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, context: Context) -> pb.ConfirmTotpResponse:
        """Turn a second factor on."""
        await self._sign_ins.confirm_totp(await self._user(request.name), request.code, person.client().address)
        return pb.ConfirmTotpResponse()

    async def RemoveTotp(self, request: pb.RemoveTotpRequest, context: Context) -> pb.RemoveTotpResponse:
        """Turn a second factor off."""
        user = await self._user(request.name)
        await self._accounts.prove(user, request.password, person.client().address)
        await self._totp.remove(user)
        return pb.RemoveTotpResponse()

    async def ListDevices(self, request: pb.ListDevicesRequest, context: Context) -> pb.ListDevicesResponse:
        """List where a user is signed in."""
        devices = await self._sign_ins.devices(_user_id(request.parent))
        return pb.ListDevicesResponse(devices=map(device_to_proto, devices))

    async def RevokeDevice(self, request: pb.RevokeDeviceRequest, context: Context) -> pb.RevokeDeviceResponse:
        """Sign a device out."""
        _, user, _, device = request.name.split("/")
        await self._sign_ins.close(user, device)
        return pb.RevokeDeviceResponse()

    async def ExportUser(self, request: pb.ExportUserRequest, context: Context) -> pb.ExportUserResponse:
        """Return all that is kept of a user."""
        data = json.dumps(await self._accounts.export(_user_id(request.name)), indent=2).encode()
        return pb.ExportUserResponse(body=HttpBody(content_type=JSON, data=data))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        """Erase an account."""
        await self._accounts.erase(_user_id(request.name))
        return pb.DeleteUserResponse()

    async def _user(self, name: str) -> User:
        return (await self._accounts.get(_user_id(name)))[0]


class OrganizationService(OrganizationServiceServicer):
    """See the contract for what each rpc does."""

    def __init__(self, organizations: Organizations, accounts: Accounts) -> None:
        self._organizations = organizations
        self._accounts = accounts

    async def CreateOrganization(
        self, request: organization_pb.CreateOrganizationRequest, context: Context
    ) -> organization_pb.CreateOrganizationResponse:
        """Make an organization."""
        wanted = request.organization
        made = await self._organizations.create(
            organization_of(wanted.name),
            wanted.display_name,
            open_registration=wanted.open_registration,
            owner=await self._found(request.owner_email),
        )
        return organization_pb.CreateOrganizationResponse(organization=organization_to_proto(made))

    async def GetOrganization(
        self, request: organization_pb.GetOrganizationRequest, context: Context
    ) -> organization_pb.GetOrganizationResponse:
        """Return an organization."""
        found = await self._organizations.get(organization_of(request.name))
        return organization_pb.GetOrganizationResponse(organization=organization_to_proto(found))

    async def ListMembers(
        self, request: organization_pb.ListMembersRequest, context: Context
    ) -> organization_pb.ListMembersResponse:
        """List members."""
        found, further = await self._organizations.members(
            organization_of(request.parent), request.page_size or PAGE_SIZE, decode_page_token(request.page_token)
        )
        return organization_pb.ListMembersResponse(
            members=map(member_to_proto, found), next_page_token=encode_page_token(further)
        )

    async def SetMember(
        self, request: organization_pb.SetMemberRequest, context: Context
    ) -> organization_pb.SetMemberResponse:
        """Give a user a role."""
        user = await self._found(request.member.email)
        role = role_from_proto(request.member.role)
        member = await self._organizations.add(organization_of(request.parent), user, role)
        return organization_pb.SetMemberResponse(member=member_to_proto(member))

    async def RemoveMember(
        self, request: organization_pb.RemoveMemberRequest, context: Context
    ) -> organization_pb.RemoveMemberResponse:
        """Take a user out."""
        _, organization, _, user = request.name.split("/")
        await self._organizations.remove(Member(organization, user, "", Role.VIEWER))
        return organization_pb.RemoveMemberResponse()

    async def CreateServiceAccount(
        self, request: organization_pb.CreateServiceAccountRequest, context: Context
    ) -> organization_pb.CreateServiceAccountResponse:
        """Make a program's account."""
        wanted = request.service_account
        account, key = await self._organizations.create_service_account(
            organization_of(request.parent), wanted.display_name, role_from_proto(wanted.role), wanted.scopes
        )
        return organization_pb.CreateServiceAccountResponse(
            service_account=service_account_to_proto(account), api_key=key
        )

    async def ListServiceAccounts(
        self, request: organization_pb.ListServiceAccountsRequest, context: Context
    ) -> organization_pb.ListServiceAccountsResponse:
        """List the programs that act for an organization."""
        found, further = await self._organizations.service_accounts(
            organization_of(request.parent), request.page_size or PAGE_SIZE, decode_page_token(request.page_token)
        )
        return organization_pb.ListServiceAccountsResponse(
            service_accounts=map(service_account_to_proto, found), next_page_token=encode_page_token(further)
        )

    async def DeleteServiceAccount(
        self, request: organization_pb.DeleteServiceAccountRequest, context: Context
    ) -> organization_pb.DeleteServiceAccountResponse:
        """Make a key useless."""
        _, organization, _, account = request.name.split("/")
        await self._organizations.remove_service_account(organization, account)
        return organization_pb.DeleteServiceAccountResponse()

    async def _found(self, email: str) -> User:
        user = await self._accounts.find(email)
        if user is None:
            raise UserUnknown("nobody has registered with this address")
        return user


class BootstrapService(BootstrapServiceServicer):
    """See the contract for what its rpc does."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap

    async def Bootstrap(
        self, request: bootstrap_pb.BootstrapRequest, context: Context
    ) -> bootstrap_pb.BootstrapResponse:
        """Make the first account."""
        key = await self._bootstrap.begin(organization_of(request.organization), request.email, request.password)
        return bootstrap_pb.BootstrapResponse(api_key=key)


def _user_id(name: str) -> str:
    return name.removeprefix("users/")
