"""Accounts: made, confirmed, changed and erased. No gRPC, no driver, no clock of its own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from email.message import EmailMessage
from enum import Enum
from typing import Any, Protocol

from reelmesh.identity import mail, passwords
from reelmesh.identity.errors import (
    CredentialsWrong,
    EmailTaken,
    LastOwner,
    MailTokenUnknown,
    RegistrationClosed,
    UserUnknown,
)
from reelmesh.identity.model import Device, Member, Membership, SignedIn, User
from reelmesh.identity.organizations import Organizations
from reelmesh.identity.passwords import Passwords
from reelmesh.identity.signing import SignIns, of_account, of_address
from reelmesh.identity.throttle import Limit, Throttle
from reelmesh.identity.tokens import digest
from reelmesh.mesh.clock import Clock, IdSource
from reelmesh.mesh.person import Role

REGISTRATIONS = 20
"""Accounts that may be made from one address before each further one has to wait."""
RESETS = 5
"""Mails that one account may be sent before each further one has to wait."""

log = logging.getLogger(__name__)


class Purpose(Enum):
    """What a mailed token is good for."""

    VERIFY = "verify"
    RESET = "reset"


MAIL_TOKEN_LIFE = {Purpose.VERIFY: timedelta(days=7), Purpose.RESET: timedelta(hours=1)}


class UserStore(Protocol):
    """What accounts need of a database. Every method may raise Unavailable."""

    async def claim_email(self, email: str, user: str) -> bool:
        """Take an address for a user; False when another has it."""

    async def create(self, user: User) -> None:
        """Make an account, unless it is there."""

    async def user(self, user: str) -> User | None:
        """Return an account; None when there is none."""

    async def user_by_email(self, email: str) -> User | None:
        """Return the account that has an address; None when there is none."""

    async def change(self, user: str, **values: object) -> bool:
        """Set fields of an account; False when there is none."""

    async def add_mail_token(self, digest: bytes, purpose: str, user: User, life: timedelta) -> None:
        """Keep a mailed token, by its hash, for a while."""

    async def mail_token(self, digest: bytes, purpose: str) -> tuple[str, str] | None:
        """Return whose token it is and the address that it was sent to; None when there is none."""

    async def use_mail_token(self, digest: bytes) -> bool:
        """Take a token away; False when someone else has."""

    async def announce_erasure(self, user: User, organizations: Sequence[str]) -> None:
        """Tell the other services that an account goes, and which organizations it belongs to."""

    async def erase(self, user: User) -> None:
        """Remove an account and its address."""

    async def memberships(self, user: str) -> Sequence[Membership]:
        """Return where a user belongs."""

    async def devices(self, user: str) -> Sequence[Device]:
        """Return where a user is signed in, in no order."""


class Accounts:
    """Accounts of all people."""

    def __init__(
        self,
        store: UserStore,
        organizations: Organizations,
        sign_ins: SignIns,
        passwords: Passwords,
        throttle: Throttle,
        mailer: mail.Mailer,
        clock: Clock,
        ids: IdSource,
        public_url: str,
    ) -> None:
        self._store = store
        self._organizations = organizations
        self._sign_ins = sign_ins
        self._passwords = passwords
        self._throttle = throttle
        self._mailer = mailer
        self._clock = clock
        self._ids = ids
        self._public_url = public_url.rstrip("/")

    async def register(
        self, email: str, password: str, display_name: str, organization: str, device: str, address: str
    ) -> SignedIn:
        """Make an account, a viewer of the organization, and sign it in.

        Raises EmailTaken, RegistrationClosed, PasswordTooCommon, TooManyAttempts.
        """
        passwords.check(password, email)
        if not await self._organizations.is_open(organization):
            raise RegistrationClosed("nobody can register there; ask an owner")
        if address:
            await self._throttle.spend(Limit(f"register {address}", REGISTRATIONS))
        user = await self.make(email, password, display_name)
        await self._organizations.add(organization, user, Role.VIEWER)
        await self._mail(user, Purpose.VERIFY, "verify-email", mail.verification)
        return await self._sign_ins.open(user, device, address)

    async def make(self, email: str, password: str, display_name: str, *, operator: bool = False) -> User:
        """Make an account that belongs nowhere yet. Raises EmailTaken."""
        user = User(
            id=self._ids.new(),
            email=email.lower(),
            display_name=display_name,
            password_hash=await self._passwords.hash(password),
            create_time=self._clock.now(),
            operator=operator,
        )
        # The address first: an account that nobody can name is harmless, a name without an account is taken up below.
        if not await self._store.claim_email(user.email, user.id):
            raise EmailTaken("another account has this address; sign in instead")
        await self._store.create(user)
        return user

    async def find(self, email: str) -> User | None:
        """Return the account that has an address; None when there is none."""
        return await self._store.user_by_email(email.lower())

    async def get(self, user_id: str) -> tuple[User, Sequence[Membership]]:
        """Return an account and where it belongs. Raises UserUnknown."""
        user = await self._known(user_id)
        return user, await self._store.memberships(user_id)

    async def verify_email(self, token: str) -> tuple[User, Sequence[Membership]]:
        """Note that an address is its user's. Raises MailTokenUnknown."""
        found = await self._store.mail_token(digest(token), Purpose.VERIFY.value)
        if found is None:
            raise MailTokenUnknown("the link was not sent by us, or has expired")
        user_id, email = found
        user = await self._known(user_id)
        if user.email == email:
            await self._store.change(user_id, email_verified=True)
        return await self.get(user_id)

    async def request_password_reset(self, email: str) -> None:
        """Send a mail, if there is such an account; who asks cannot tell. Raises TooManyAttempts."""
        await self._throttle.spend(Limit(f"reset {email.lower()}", RESETS))
        user = await self._store.user_by_email(email.lower())
        if user is not None:
            await self._mail(user, Purpose.RESET, "reset-password", mail.password_reset)

    async def reset_password(self, token: str, password: str) -> None:
        """Set a password by a mailed token, and sign the user out everywhere.

        Raises MailTokenUnknown, PasswordTooCommon.
        """
        kept_as = digest(token)
        found = await self._store.mail_token(kept_as, Purpose.RESET.value)
        if found is None:
            raise MailTokenUnknown("the link was not sent by us, was used, or has expired")
        user_id, email = found
        passwords.check(password, email)
        if not await self._store.use_mail_token(kept_as):
            raise MailTokenUnknown("the link was used")
        kept = await self._passwords.hash(password)
        # Who reads the mail of an address owns it.
        await self._store.change(user_id, password_hash=kept, email_verified=True)
        await self._sign_ins.close_all(user_id)

    async def change_password(self, user_id: str, current: str, new: str, address: str, device: str) -> None:
        """Set a password, and sign the user out everywhere but at `device`.

        Raises CredentialsWrong, PasswordTooCommon, TooManyAttempts, UserUnknown.
        """
        user = await self._known(user_id)
        passwords.check(new, user.email)
        await self.prove(user, current, address)
        await self._store.change(user_id, password_hash=await self._passwords.hash(new))
        await self._sign_ins.close_all(user_id, but=device)

    async def prove(self, user: User, password: str, address: str) -> None:
        """Make sure that a signed-in user knows the password. Raises CredentialsWrong, TooManyAttempts."""
        async with self._throttle.attempt([of_account(user.email), *of_address(address)]):
            if not await self._passwords.matches(password, user.password_hash):
                raise CredentialsWrong("the password is wrong")

    async def export(self, user_id: str) -> Mapping[str, Any]:
        """Return everything that is kept of a user here. Raises UserUnknown."""
        user, memberships = await self.get(user_id)
        devices = await self._store.devices(user_id)
        return {
            "user": {
                "name": user.name,
                "email": user.email,
                "emailVerified": user.email_verified,
                "displayName": user.display_name,
                "totpEnabled": bool(user.totp_secret),
                "createTime": user.create_time.isoformat(),
            },
            "memberships": [
                {"organization": f"organizations/{m.organization}", "role": m.role.name.lower()} for m in memberships
            ],
            "devices": [
                {
                    "displayName": device.display_name,
                    "address": device.address,
                    "createTime": device.create_time.isoformat(),
                    "refreshTime": device.refresh_time.isoformat(),
                }
                for device in devices
            ],
        }

    async def erase(self, user_id: str) -> None:
        """Remove an account and all that is kept of it. Raises LastOwner."""
        user = await self._store.user(user_id)
        if user is None:
            return
        memberships = await self._store.memberships(user_id)
        for membership in memberships:
            if await self._organizations.is_last_owner(membership.organization, user_id):
                raise LastOwner("an organization has no other owner", organization=membership.organization)
        # Told first, while it is known where the user belongs: what is cut short is done by who repeats.
        await self._store.announce_erasure(user, [membership.organization for membership in memberships])
        await self._sign_ins.close_all(user_id)
        for membership in memberships:
            await self._organizations.remove(Member(membership.organization, user_id, user.email, membership.role))
        await self._store.erase(user)

    async def _known(self, user_id: str) -> User:
        user = await self._store.user(user_id)
        if user is None:
            raise UserUnknown("there is no such account")
        return user

    async def _mail(self, user: User, purpose: Purpose, page: str, write: Callable[[str, str], EmailMessage]) -> None:
        token = secrets.token_urlsafe(32)
        await self._store.add_mail_token(digest(token), purpose.value, user, MAIL_TOKEN_LIFE[purpose])
        try:
            await self._mailer.send(write(user.email, f"{self._public_url}/{page}#token={token}"))
        except OSError as error:
            # smtplib's errors are OSErrors too. The account stands; another mail can be asked for.
            log.warning("a mail could not be sent: %s", type(error).__name__)
