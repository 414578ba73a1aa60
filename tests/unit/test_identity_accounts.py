from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from identity_fakes import EMAIL, PASSWORD, Identity

from reelmesh.identity import passwords
from reelmesh.identity.errors import (
    ApiKeyInvalid,
    CredentialsWrong,
    EmailTaken,
    LastOwner,
    MailTokenUnknown,
    OrganizationUnknown,
    PasswordTooCommon,
    RefreshTokenInvalid,
    RefreshTokenReused,
    RefreshTokenRotated,
    RegistrationClosed,
    TooManyAttempts,
    TotpEnabled,
    TotpNotBegun,
    TotpRequired,
    TotpWrong,
    UserUnknown,
)
from reelmesh.identity.model import Member, SignedIn, User
from reelmesh.identity.passwords import Passwords
from reelmesh.identity.throttle import LONGEST, wait
from reelmesh.mesh.person import Role


@pytest.fixture
def identity() -> Identity:
    made = Identity()
    made.open("acme")
    return made


ADDRESS = "203.0.113.1"


async def register(identity: Identity, email: str = EMAIL, address: str = ADDRESS) -> SignedIn:
    return await identity.accounts.register(email, PASSWORD, "Ann", "acme", "phone", address)


async def log_in(identity: Identity, password: str = PASSWORD, code: str = "", address: str = ADDRESS) -> SignedIn:
    return await identity.sign_ins.log_in(EMAIL, password, code, "laptop", address)


async def owner(identity: Identity, email: str = "olga@example.com") -> User:
    user = await identity.accounts.make(email, PASSWORD, "Olga")
    await identity.organizations.add("acme", user, Role.OWNER)
    return user


class TestRegister:
    async def test_makes_a_viewer_who_is_signed_in(self, identity: Identity) -> None:
        done = await register(identity, "Ann@Example.com")
        assert done.user.email == EMAIL
        claims = identity.claims(done.tokens.access)
        assert claims["sub"] == done.user.name
        assert claims["organizations"] == {"acme": "viewer"}
        assert "operator" not in claims
        assert done.tokens.access_expire_time - identity.clock.now() == timedelta(minutes=10)

    async def test_one_account_for_an_address(self, identity: Identity) -> None:
        await register(identity)
        with pytest.raises(EmailTaken):
            await register(identity, EMAIL.upper())

    async def test_only_where_it_is_open(self, identity: Identity) -> None:
        identity.open("closed", registration=False)
        for organization in ("closed", "nowhere"):
            with pytest.raises(RegistrationClosed):
                await identity.accounts.register(EMAIL, PASSWORD, "", organization, "", "")
        assert not identity.store.users

    @pytest.mark.parametrize("password", ["password123", "PASSWORD123", "aaaaaaaaaaaa", "ababababab", "ann.longname"])
    async def test_not_with_what_anyone_would_try(self, identity: Identity, password: str) -> None:
        with pytest.raises(PasswordTooCommon):
            await identity.accounts.register("ann.longname@example.com", password, "", "acme", "", "")

    async def test_not_by_the_thousand(self, identity: Identity) -> None:
        made = [register(identity, f"{number}@example.com") for number in range(1000)]
        answers = [await asyncio.gather(one, return_exceptions=True) for one in made]
        assert sum(isinstance(answer, TooManyAttempts) for (answer,) in answers) > 970
        assert len(identity.store.users) < 30
        await register(identity, address="203.0.113.2")

    async def test_stands_even_when_no_mail_goes(self, identity: Identity) -> None:
        identity.mailer.broken = True
        assert (await register(identity)).tokens.access

    async def test_is_confirmed_by_the_mail(self, identity: Identity) -> None:
        done = await register(identity)
        token = identity.mailer.token()
        assert not done.user.email_verified
        for _ in range(2):
            user, memberships = await identity.accounts.verify_email(token)
            assert user.email_verified
            assert [m.organization for m in memberships] == ["acme"]
        with pytest.raises(MailTokenUnknown):
            await identity.accounts.verify_email("made up")


class TestLogIn:
    async def test_knows_who_it_is(self, identity: Identity) -> None:
        first = await register(identity)
        second = await log_in(identity)
        assert second.user.id == first.user.id
        assert {d.display_name for d in await identity.sign_ins.devices(first.user.id)} == {"phone", "laptop"}

    async def test_does_not_say_what_was_wrong(self, identity: Identity) -> None:
        await register(identity)
        with pytest.raises(CredentialsWrong) as wrong_password:
            await log_in(identity, "wrong")
        with pytest.raises(CredentialsWrong) as wrong_email:
            await identity.sign_ins.log_in("bob@example.com", PASSWORD, "", "", "203.0.113.1")
        assert wrong_password.value.message == wrong_email.value.message

    async def test_a_thousand_guesses_at_one_account_are_throttled(self, identity: Identity) -> None:
        await register(identity)
        addresses = [f"198.51.100.{number % 250}" for number in range(1000)]
        guesses = [log_in(identity, f"guess {n}", address=address) for n, address in enumerate(addresses)]
        answers = [(await asyncio.gather(guess, return_exceptions=True))[0] for guess in guesses]
        assert sum(isinstance(answer, CredentialsWrong) for answer in answers) <= 10
        throttled = [answer for answer in answers if isinstance(answer, TooManyAttempts)]
        assert len(throttled) >= 990
        assert all(answer.retry_after for answer in throttled)
        with pytest.raises(TooManyAttempts):
            await log_in(identity)
        identity.clock.move(LONGEST)
        assert (await log_in(identity)).tokens.access, "the owner is let in after the wait"

    async def test_a_thousand_guesses_from_one_address_are_throttled(self, identity: Identity) -> None:
        heard = 0
        for number in range(1000):
            try:
                await identity.sign_ins.log_in(f"{number}@example.com", "guess", "", "", "203.0.113.7")
            except CredentialsWrong:
                heard += 1
            except TooManyAttempts:
                pass
        assert heard <= 30

    async def test_guesses_side_by_side_are_counted_one_by_one(self, identity: Identity) -> None:
        await register(identity)
        answers = await asyncio.gather(*(log_in(identity, "guess") for _ in range(100)), return_exceptions=True)
        assert sum(isinstance(answer, CredentialsWrong) for answer in answers) <= 10

    async def test_success_is_not_held_against_anyone(self, identity: Identity) -> None:
        await register(identity)
        for _ in range(100):
            await log_in(identity)
        assert not [key for key in identity.store.failed if not key.startswith("register")]

    def test_waits_grow_and_end(self) -> None:
        waits = [wait(beyond) for beyond in range(-2, 40)]
        assert waits[:5] == [timedelta(), timedelta(), *(timedelta(seconds=s) for s in (1, 2, 4))]
        assert waits == sorted(waits)
        assert waits[-1] == LONGEST


class TestRefresh:
    async def test_goes_on_for_ever(self, identity: Identity) -> None:
        tokens = (await register(identity)).tokens
        for _ in range(5):
            identity.clock.move(timedelta(days=29))
            tokens = (await identity.sign_ins.refresh(tokens.refresh)).tokens

    async def test_says_what_changed(self, identity: Identity) -> None:
        done = await register(identity)
        await identity.organizations.add("acme", done.user, Role.EDITOR)
        fresh = await identity.sign_ins.refresh(done.tokens.refresh)
        assert identity.claims(fresh.tokens.access)["organizations"] == {"acme": "editor"}

    async def test_reuse_ends_the_whole_family(self, identity: Identity) -> None:
        first = (await register(identity)).tokens
        second = (await identity.sign_ins.refresh(first.refresh)).tokens
        identity.clock.move(timedelta(minutes=1))
        with pytest.raises(RefreshTokenReused):
            await identity.sign_ins.refresh(first.refresh)
        with pytest.raises(RefreshTokenInvalid):
            await identity.sign_ins.refresh(second.refresh)

    async def test_reuse_ends_no_other_device(self, identity: Identity) -> None:
        stolen = (await register(identity)).tokens
        other = (await log_in(identity)).tokens
        await identity.sign_ins.refresh(stolen.refresh)
        identity.clock.move(timedelta(minutes=1))
        with pytest.raises(RefreshTokenReused):
            await identity.sign_ins.refresh(stolen.refresh)
        assert (await identity.sign_ins.refresh(other.refresh)).tokens.access

    async def test_two_tabs_at_once_are_no_theft(self, identity: Identity) -> None:
        first = (await register(identity)).tokens
        second = (await identity.sign_ins.refresh(first.refresh)).tokens
        with pytest.raises(RefreshTokenRotated):
            await identity.sign_ins.refresh(first.refresh)
        assert (await identity.sign_ins.refresh(second.refresh)).tokens.access

    async def test_an_old_generation_is_a_theft_at_once(self, identity: Identity) -> None:
        first = (await register(identity)).tokens
        second = (await identity.sign_ins.refresh(first.refresh)).tokens
        await identity.sign_ins.refresh(second.refresh)
        with pytest.raises(RefreshTokenReused):
            await identity.sign_ins.refresh(first.refresh)

    async def test_an_end(self, identity: Identity) -> None:
        done = await register(identity)
        identity.clock.move(timedelta(days=31))
        with pytest.raises(RefreshTokenInvalid):
            await identity.sign_ins.refresh(done.tokens.refresh)

    async def test_only_refresh_tokens(self, identity: Identity) -> None:
        done = await register(identity)
        forged = Identity()
        (device,) = await identity.sign_ins.devices(done.user.id)
        other_keys = forged.tokens.for_device(done.user, [], device).refresh
        for token in ("", "a.b.c", done.tokens.access, other_keys):
            with pytest.raises(RefreshTokenInvalid):
                await identity.sign_ins.refresh(token)
        assert (await identity.sign_ins.refresh(done.tokens.refresh)).tokens.access, "and none of them did harm"

    async def test_log_out(self, identity: Identity) -> None:
        done = await register(identity)
        for _ in range(2):
            await identity.sign_ins.log_out(done.tokens.refresh)
        with pytest.raises(RefreshTokenInvalid):
            await identity.sign_ins.refresh(done.tokens.refresh)


class TestPassword:
    async def test_reset_signs_out_everywhere(self, identity: Identity) -> None:
        done = await register(identity)
        await identity.accounts.request_password_reset(EMAIL.upper())
        token = identity.mailer.token()
        with pytest.raises(PasswordTooCommon):
            await identity.accounts.reset_password(token, "password123")
        await identity.accounts.reset_password(token, "another good one")
        with pytest.raises(RefreshTokenInvalid):
            await identity.sign_ins.refresh(done.tokens.refresh)
        with pytest.raises(MailTokenUnknown):
            await identity.accounts.reset_password(token, "yet another one")
        with pytest.raises(CredentialsWrong):
            await log_in(identity)
        assert (await log_in(identity, "another good one")).user.email_verified

    async def test_reset_of_nobody_looks_the_same(self, identity: Identity) -> None:
        await identity.accounts.request_password_reset("nobody@example.com")
        assert not identity.mailer.sent

    async def test_a_token_is_good_for_one_thing(self, identity: Identity) -> None:
        await register(identity)
        with pytest.raises(MailTokenUnknown):
            await identity.accounts.reset_password(identity.mailer.token(), "another good one")

    async def test_change_keeps_this_device(self, identity: Identity) -> None:
        here, there = await register(identity), await log_in(identity)
        session = identity.claims(here.tokens.access)["sid"]
        with pytest.raises(CredentialsWrong):
            await identity.accounts.change_password(here.user.id, "wrong", "another good one", "", session)
        await identity.accounts.change_password(here.user.id, PASSWORD, "another good one", "", session)
        assert (await identity.sign_ins.refresh(here.tokens.refresh)).tokens.access
        with pytest.raises(RefreshTokenInvalid):
            await identity.sign_ins.refresh(there.tokens.refresh)

    async def test_is_kept_as_argon2id(self) -> None:
        real = Passwords()
        kept = await real.hash(PASSWORD)
        assert kept.startswith(f"$argon2id$v=19$m={passwords.MEMORY_KIB},t={passwords.ITERATIONS},p=1$")
        assert await real.matches(PASSWORD, kept)
        assert not await real.matches(PASSWORD + "r", kept)
        assert not await real.matches(PASSWORD, None)
        assert kept != await real.hash(PASSWORD), "salted"


class TestTotp:
    async def enabled(self, identity: Identity) -> tuple[SignedIn, TOTP]:
        done = await register(identity)
        secret, uri = await identity.totp.begin(done.user)
        assert uri.startswith("otpauth://totp/")
        totp = TOTP(base64.b32decode(secret), 6, SHA1(), 30)  # noqa: S303 - as authenticator apps do
        await identity.sign_ins.confirm_totp(identity.store.users[done.user.id], self.code(identity, totp), "")
        identity.clock.move(timedelta(seconds=30))
        return done, totp

    @staticmethod
    def code(identity: Identity, totp: TOTP, steps: int = 0) -> str:
        return totp.generate(int(identity.clock.now().timestamp()) + 30 * steps).decode()

    async def test_is_asked_for(self, identity: Identity) -> None:
        _, totp = await self.enabled(identity)
        with pytest.raises(TotpRequired):
            await log_in(identity)
        with pytest.raises(TotpWrong):
            await log_in(identity, code="000000" if self.code(identity, totp) != "000000" else "111111")
        assert (await log_in(identity, code=self.code(identity, totp))).tokens.access

    async def test_a_code_works_once(self, identity: Identity) -> None:
        _, totp = await self.enabled(identity)
        code = self.code(identity, totp)
        await log_in(identity, code=code)
        with pytest.raises(TotpWrong):
            await log_in(identity, code=code)

    @pytest.mark.parametrize(("steps", "right"), [(-2, False), (-1, False), (0, True), (1, True), (2, False)])
    async def test_clocks_may_be_a_little_off(self, identity: Identity, steps: int, *, right: bool) -> None:
        # The step before was used to confirm.
        _, totp = await self.enabled(identity)
        if right:
            await log_in(identity, code=self.code(identity, totp, steps))
        else:
            with pytest.raises(TotpWrong):
                await log_in(identity, code=self.code(identity, totp, steps))

    async def test_is_sealed_at_rest(self, identity: Identity) -> None:
        done = await register(identity)
        secret, _ = await identity.totp.begin(done.user)
        assert secret not in repr(identity.store.users)

    async def test_begins_before_it_is_confirmed_and_once(self, identity: Identity) -> None:
        done = await register(identity)
        with pytest.raises(TotpNotBegun):
            await identity.totp.confirm(done.user, "000000")
        await identity.totp.begin(done.user)
        assert (await log_in(identity)).tokens.access, "it counts once it is confirmed"

    async def test_removal(self, identity: Identity) -> None:
        done, _ = await self.enabled(identity)
        user = identity.store.users[done.user.id]
        with pytest.raises(TotpEnabled):
            await identity.totp.begin(user)
        await identity.totp.remove(user)
        assert (await log_in(identity)).tokens.access


class TestMembers:
    async def test_the_last_owner_stays(self, identity: Identity) -> None:
        olga = await owner(identity)
        for change in (
            identity.organizations.add("acme", olga, Role.EDITOR),
            identity.organizations.remove(Member("acme", olga.id, "", Role.VIEWER)),
            identity.accounts.erase(olga.id),
        ):
            with pytest.raises(LastOwner):
                await change
        other = await owner(identity, "otto@example.com")
        await identity.organizations.remove(Member("acme", olga.id, "", Role.VIEWER))
        assert [m.user for m in (await identity.organizations.members("acme", 10, ""))[0]] == [other.id]

    async def test_changes_count_owners_right(self, identity: Identity) -> None:
        olga, otto = await owner(identity), await owner(identity, "otto@example.com")
        for role in (Role.OWNER, Role.EDITOR, Role.VIEWER, Role.OWNER, Role.EDITOR):
            await identity.organizations.add("acme", otto, role)
        assert identity.store.owner_count["acme"] == 1
        assert await identity.organizations.is_last_owner("acme", olga.id)

    async def test_pages(self, identity: Identity) -> None:
        users = [await owner(identity, f"{n}@example.com") for n in range(5)]
        first, further = await identity.organizations.members("acme", 2, "")
        second, last = await identity.organizations.members("acme", 3, further)
        assert [m.user for m in (*first, *second)] == sorted(u.id for u in users)
        assert last == ""

    async def test_only_of_what_there_is(self, identity: Identity) -> None:
        olga = await owner(identity)
        with pytest.raises(OrganizationUnknown):
            await identity.organizations.add("nowhere", olga, Role.VIEWER)

    async def test_making_an_organization_twice_changes_nothing(self, identity: Identity) -> None:
        olga = await identity.accounts.make("olga@example.com", PASSWORD, "")
        otto = await identity.accounts.make("otto@example.com", PASSWORD, "")
        first = await identity.organizations.create("new", "New", open_registration=False, owner=olga)
        again = await identity.organizations.create("new", "Other", open_registration=True, owner=otto)
        assert again == first
        assert [m.user for m in (await identity.organizations.members("new", 10, ""))[0]] == [olga.id]


class TestServiceAccounts:
    async def test_a_key_is_good_until_it_is_removed(self, identity: Identity) -> None:
        account, key = await identity.organizations.create_service_account("acme", "CI", Role.EDITOR, ["catalog.read"])
        claims = identity.claims((await identity.organizations.exchange(key)).access)
        assert claims["sub"] == account.name
        assert claims["organizations"] == {"acme": "editor"}
        assert claims["scope"] == "catalog.read"
        assert key.rpartition(".")[2] not in repr(identity.store.accounts)
        await identity.organizations.remove_service_account("acme", account.id)
        with pytest.raises(ApiKeyInvalid):
            await identity.organizations.exchange(key)

    async def test_a_wrong_key(self, identity: Identity) -> None:
        _, key = await identity.organizations.create_service_account("acme", "CI", Role.EDITOR, [])
        prefix, organization, account, secret = key.split(".")
        elsewhere, mislabelled = f"{prefix}.other.{account}.{secret}", f"x.{organization}.{account}.{secret}"
        for wrong in ("", key[:-1], elsewhere, mislabelled, key + "."):
            with pytest.raises(ApiKeyInvalid):
                await identity.organizations.exchange(wrong)


class TestPersonalData:
    async def test_export_tells_all_but_secrets(self, identity: Identity) -> None:
        done = await register(identity)
        exported = await identity.accounts.export(done.user.id)
        assert exported["user"]["email"] == EMAIL
        assert exported["memberships"] == [{"organization": "organizations/acme", "role": "viewer"}]
        assert exported["devices"][0]["address"] == "203.0.113.1"
        assert "hash" not in repr(exported)

    async def test_erasure_leaves_nothing(self, identity: Identity) -> None:
        done = await register(identity)
        await identity.accounts.erase(done.user.id)
        assert identity.store.erased == [(done.user.name, ["acme"])]
        store = identity.store
        for kept in (store.users, store.emails, store.by_device, store.by_member, store.belongs[done.user.id]):
            assert not kept
        with pytest.raises(UserUnknown):
            await identity.accounts.get(done.user.id)
        await identity.accounts.erase(done.user.id)
        assert (await register(identity)).user.id != done.user.id, "the address is free again"
