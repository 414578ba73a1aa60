"""Accounts on the whole platform: through the gateway, on a real database, and in a browser."""

from __future__ import annotations

import concurrent.futures
import email
import email.policy
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import httpx
import pytest
from browser_pages import Visitor, launched, no_complaints
from e2e_world import eventually, refused
from playwright.sync_api import Browser, expect

from reelmesh.annotations.v1 import annotations_pb2
from reelmesh.identity.v1 import account_service_pb2 as pb
from reelmesh.identity.v1 import organization_pb2
from reelmesh.identity.v1 import organization_service_pb2 as organization_pb
from reelmesh.identity.v1.user_pb2 import Tokens
from reelmesh.ingest.v1.upload_service_pb2 import ListUploadsRequest
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.owner import Credentials

pytestmark = [pytest.mark.stack]

PASSWORD = "correct horse battery staple"  # noqa: S105 - of a comic
ORGANIZATION = "organizations/default"


def someone() -> str:
    return f"{uuid.uuid4()}@example.com"


def register(platform: Platform, address: str) -> pb.RegisterResponse:
    return platform.accounts.Register(
        pb.RegisterRequest(email=address, password=PASSWORD, organization=ORGANIZATION, device="a test")
    )


def bearer(tokens: Tokens) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {tokens.access_token}"),)


def mailed_token(stack: Stack, address: str) -> str:
    """Return the token in the newest mail to an address."""

    def look() -> str | None:
        files = sorted((stack.layout.mail / "new").glob("*"), key=lambda file: file.stat().st_mtime_ns)
        mails = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
        texts = [mail.get_content() for mail in mails if mail["To"] == address]
        return str(texts[-1]).split("#token=")[1].split()[0] if texts else None

    return eventually(look, f"a mail to {address}")


def test_a_life_of_an_account(stack: Stack, nobody: Platform) -> None:
    address = someone()
    made = register(nobody, address)
    mine = bearer(made.tokens)
    accounts = nobody.accounts
    assert refused(lambda: register(nobody, address.upper())).reason == "EMAIL_TAKEN"
    assert accounts.VerifyEmail(pb.VerifyEmailRequest(token=mailed_token(stack, address))).user.email_verified
    assert accounts.GetUser(pb.GetUserRequest(name=made.user.name), metadata=mine).user.email == address

    again = accounts.LogIn(pb.LogInRequest(email=address, password=PASSWORD, device="another"))
    devices = accounts.ListDevices(pb.ListDevicesRequest(parent=made.user.name), metadata=mine).devices
    assert [device.display_name for device in devices] == ["another", "a test"]
    accounts.RevokeDevice(pb.RevokeDeviceRequest(name=devices[0].name), metadata=mine)
    refresh = pb.RefreshTokensRequest(refresh_token=again.tokens.refresh_token)
    assert refused(lambda: accounts.RefreshTokens(refresh)).reason == "REFRESH_TOKEN_INVALID"

    accounts.RequestPasswordReset(pb.RequestPasswordResetRequest(email=address))
    changed = "another good password"
    token = mailed_token(stack, address)
    accounts.ResetPassword(pb.ResetPasswordRequest(token=token, password=changed))
    old = pb.LogInRequest(email=address, password=PASSWORD)
    assert refused(lambda: accounts.LogIn(old)).reason == "CREDENTIALS_WRONG"
    back = accounts.LogIn(pb.LogInRequest(email=address, password=changed))

    accounts.DeleteUser(pb.DeleteUserRequest(name=made.user.name), metadata=bearer(back.tokens))
    get = pb.GetUserRequest(name=made.user.name)
    assert refused(lambda: accounts.GetUser(get, metadata=mine)).reason == "USER_UNKNOWN"
    assert register(nobody, address).user.name != made.user.name, "the address is free again"


def test_a_copied_refresh_token_ends_its_family(nobody: Platform) -> None:
    first = register(nobody, someone()).tokens.refresh_token
    refresh = nobody.accounts.RefreshTokens
    second = refresh(pb.RefreshTokensRequest(refresh_token=first)).tokens.refresh_token
    third = refresh(pb.RefreshTokensRequest(refresh_token=second)).tokens.refresh_token
    reused = refused(lambda: refresh(pb.RefreshTokensRequest(refresh_token=first)))
    assert (reused.code, reused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED")
    for request in (pb.RefreshTokensRequest(refresh_token=token) for token in (second, third)):
        assert refused(partial(refresh, request)).reason == "REFRESH_TOKEN_INVALID"


def test_one_refresh_token_gets_one_answer_however_many_ask(nobody: Platform) -> None:
    request = pb.RefreshTokensRequest(refresh_token=register(nobody, someone()).tokens.refresh_token)

    def ask(_: int) -> str:
        try:
            nobody.accounts.RefreshTokens(request)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(16)))
    assert answers.count("OK") == 1
    assert set(answers) == {"OK", "ABORTED"}


def outcomes(platform: Platform, addresses: list[str]) -> dict[str, int]:
    """Try a wrong password at each address, sixteen side by side; return how often each reason was given."""

    def guess(address: str) -> str:
        request = pb.LogInRequest(email=address, password=PASSWORD.upper())
        return refused(lambda: platform.accounts.LogIn(request)).reason

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        reasons = list(threads.map(guess, addresses))
    return {reason: reasons.count(reason) for reason in set(reasons)}


def test_a_thousand_guesses_are_throttled(nobody: Platform) -> None:
    address = someone()
    register(nobody, address)
    began = time.monotonic()
    one_account = outcomes(nobody, [address] * 1000)
    # Beyond the free ones, a guess is heard after 1, 2, 4… seconds.
    patience = time.monotonic() - began
    print({"one account": one_account, "seconds": round(patience, 1)})  # noqa: T201
    assert set(one_account) == {"CREDENTIALS_WRONG", "TOO_MANY_ATTEMPTS"}
    assert one_account["CREDENTIALS_WRONG"] <= 11 + int(patience + 1).bit_length()
    locked = refused(lambda: nobody.accounts.LogIn(pb.LogInRequest(email=address, password=PASSWORD)))
    assert (locked.code, locked.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_ATTEMPTS")


def test_a_member_may_what_the_role_says(platform: Platform, nobody: Platform) -> None:
    made = register(nobody, someone())
    listing = ListUploadsRequest(parent=ORGANIZATION)
    assert refused(lambda: nobody.uploads.ListUploads(listing, metadata=bearer(made.tokens))).reason == "ROLE_TOO_LOW"
    member = organization_pb2.Member(email=made.user.email, role=annotations_pb2.ROLE_EDITOR)
    platform.organizations.SetMember(organization_pb.SetMemberRequest(parent=ORGANIZATION, member=member))
    fresh = nobody.accounts.RefreshTokens(pb.RefreshTokensRequest(refresh_token=made.tokens.refresh_token)).tokens
    nobody.uploads.ListUploads(listing, metadata=bearer(fresh))
    listed = platform.organizations.ListMembers(organization_pb.ListMembersRequest(parent=ORGANIZATION, page_size=1000))
    assert {m.email: m.role for m in listed.members}[made.user.email] == annotations_pb2.ROLE_EDITOR


def test_the_command_line_manages_members_and_keys(
    stack: Stack, nobody: Platform, reelmesh: Callable[..., dict[str, Any]]
) -> None:
    made = register(nobody, someone())
    (member,) = reelmesh("members", made.user.email, "--role", "editor")["members"]
    assert member["role"] == "ROLE_EDITOR"
    assert made.user.email in {each["email"] for each in reelmesh("members")["members"]}
    reelmesh("members", made.user.email, "--remove")
    assert made.user.email not in {each["email"] for each in reelmesh("members")["members"]}
    key = reelmesh("api-keys", "--create", "CI", "--scope", "ingest.read")
    with Platform(stack.plan.gateway_url, key["api_key"]) as program:
        program.uploads.ListUploads(ListUploadsRequest(parent=ORGANIZATION))
    assert key["name"] in {each["name"] for each in reelmesh("api-keys")["service_accounts"]}
    left = reelmesh("api-keys", "--remove", key["name"])["service_accounts"]
    assert key["name"] not in {each["name"] for each in left}


def test_the_last_owner_stays(platform: Platform, owner: Credentials) -> None:
    member = organization_pb2.Member(email=owner.email, role=annotations_pb2.ROLE_VIEWER)
    request = organization_pb.SetMemberRequest(parent=ORGANIZATION, member=member)
    assert refused(lambda: platform.organizations.SetMember(request)).reason == "LAST_OWNER"


def test_a_service_account_keeps_within_its_scopes(stack: Stack, platform: Platform) -> None:
    wanted = organization_pb2.ServiceAccount(
        display_name="CI", role=annotations_pb2.ROLE_OWNER, scopes=["ingest.read", "identity.read"]
    )
    request = organization_pb.CreateServiceAccountRequest(parent=ORGANIZATION, service_account=wanted)
    made = platform.organizations.CreateServiceAccount(request)
    with Platform(stack.plan.gateway_url, made.api_key) as limited:
        limited.uploads.ListUploads(ListUploadsRequest(parent=ORGANIZATION))
        assert refused(lambda: limited.organizations.CreateServiceAccount(request)).reason == "SCOPE_MISSING"
        name = made.service_account.name
        platform.organizations.DeleteServiceAccount(organization_pb.DeleteServiceAccountRequest(name=name))
    listing = ListUploadsRequest(parent=ORGANIZATION)
    with Platform(stack.plan.gateway_url, made.api_key) as late:
        assert refused(lambda: late.uploads.ListUploads(listing)).reason == "API_KEY_INVALID"


def test_the_gateway_s_word_cannot_be_forged(stack: Stack) -> None:
    claims = "eyJpc3MiOiJyZWVsbWVzaCIsInN1YiI6InVzZXJzLzEiLCJvcGVyYXRvciI6dHJ1ZX0"  # an operator
    answer = httpx.get(
        f"{stack.plan.gateway_url}/v1/{ORGANIZATION}/uploads", headers={"x-reelmesh-person": claims}, trust_env=False
    )
    assert answer.status_code == httpx.codes.UNAUTHORIZED


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@pytest.mark.browser
def test_someone_signs_up_and_out_and_in_again(stack: Stack, browser: Browser) -> None:
    address = someone()
    page = browser.new_context(base_url=stack.plan.gateway_url).new_page()
    with no_complaints(page, excused="/reelmesh."):
        visitor = Visitor(page)
        visitor.sign_up(address, PASSWORD)
        page.goto("/account")
        expect(page.get_by_role("main").get_by_role("listitem")).to_have_count(1)
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(visitor.account).to_have_text("Sign in")
        page.wait_for_url("**/")
        page.goto("/sign-in?next=/account")
        page.get_by_label("Email").fill(address)
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("CREDENTIALS_WRONG")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/account")
        expect(visitor.account).to_have_text(address)
        page.goto(f"/verify-email#token={mailed_token(stack, address)}")
        expect(page.get_by_role("main").get_by_role("status")).to_contain_text("confirmed")
    page.context.close()
