"""Accounts and devices on Cassandra. See schema.cql for the shape and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reelmesh.events.v1.identity_event_pb2 import IdentityEvent, UserDeleted
from reelmesh.identity.model import Device, Membership, User
from reelmesh.identity.throttle import Attempts
from reelmesh.mesh.clock import Clock, derived_id
from reelmesh.mesh.person import Role
from reelmesh.stores.cassandra import Cassandra, Row, Statement
from reelmesh.stores.events import IDENTITY_EVENTS, Record
from reelmesh.stores.migrations import keyspace_of
from reelmesh.stores.outbox import Outbox

ATTEMPTS_TTL = timedelta(hours=1)
"""How long a failure is remembered."""

_KS = keyspace_of("identity")
_DEVICE = "user, device, display_name, address, generation, create_time, refresh_time, expire_time"


class CassandraUserStore:
    """Accounts, devices and failed attempts in the keyspace of identity."""

    def __init__(self, cassandra: Cassandra, outbox: Outbox, clock: Clock) -> None:
        self._cassandra = cassandra
        self._outbox = outbox
        self._clock = clock

    async def claim_email(self, email: str, user: str) -> bool:
        """Take an address for a user; False when another has it."""
        earlier = await self._cassandra.apply(
            Statement(f"INSERT INTO {_KS}.users_by_email (email, user) VALUES (?, ?) IF NOT EXISTS", (email, user))
        )
        if earlier is None:
            return True
        if await self.user(earlier.user) is not None:
            return False
        # Whoever took it did not come to make the account.
        taken_over = Statement(
            f"UPDATE {_KS}.users_by_email SET user = ? WHERE email = ? IF user = ?", (user, email, earlier.user)
        )
        return await self._cassandra.apply(taken_over) is None

    async def create(self, user: User) -> None:
        """Make an account, unless it is there."""
        await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.users (user, email, display_name, password_hash, email_verified, operator, "
                "totp_secret, totp_pending, totp_counter, create_time) VALUES (?, ?, ?, ?, ?, ?, '', '', 0, ?) "
                "IF NOT EXISTS",
                (
                    user.id,
                    user.email,
                    user.display_name,
                    user.password_hash,
                    user.email_verified,
                    user.operator,
                    user.create_time,
                ),
            )
        )

    async def user(self, user: str) -> User | None:
        """Return an account; None when there is none."""
        rows = await self._cassandra.execute(f"SELECT * FROM {_KS}.users WHERE user = ?", user)
        return _user(rows[0]) if rows else None

    async def user_by_email(self, email: str) -> User | None:
        """Return the account that has an address; None when there is none."""
        rows = await self._cassandra.execute(f"SELECT user FROM {_KS}.users_by_email WHERE email = ?", email)
        return await self.user(rows[0].user) if rows else None

    async def change(self, user: str, **values: object) -> bool:
        """Set fields of an account; False when there is none."""
        columns = ", ".join(f"{column} = ?" for column in values)
        statement = Statement(f"UPDATE {_KS}.users SET {columns} WHERE user = ? IF EXISTS", (*values.values(), user))
        return await self._cassandra.apply(statement) is None

    async def advance_totp(self, user: User, counter: int) -> bool:
        """Note that the code of a half minute was used; False when that one or a later one was used already."""
        statement = Statement(
            f"UPDATE {_KS}.users SET totp_counter = ? WHERE user = ? IF totp_counter < ?", (counter, user.id, counter)
        )
        return await self._cassandra.apply(statement) is None

    async def add_mail_token(self, digest: bytes, purpose: str, user: User, life: timedelta) -> None:
        """Keep a mailed token, by its hash, for a while."""
        await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.mail_tokens (hash, purpose, user, email) VALUES (?, ?, ?, ?) "
                f"IF NOT EXISTS USING TTL {int(life.total_seconds())}",
                (digest, purpose, user.id, user.email),
            )
        )

    async def mail_token(self, digest: bytes, purpose: str) -> tuple[str, str] | None:
        """Return whose token it is and the address that it was sent to; None when there is none."""
        rows = await self._cassandra.execute(
            f"SELECT purpose, user, email FROM {_KS}.mail_tokens WHERE hash = ?", digest
        )
        return (rows[0].user, rows[0].email) if rows and rows[0].purpose == purpose else None

    async def use_mail_token(self, digest: bytes) -> bool:
        """Take a token away; False when someone else has."""
        statement = Statement(f"DELETE FROM {_KS}.mail_tokens WHERE hash = ? IF EXISTS", (digest,))
        return await self._cassandra.apply(statement) is None

    async def announce_erasure(self, user: User, organizations: Sequence[str]) -> None:
        """Tell the other services that an account goes, and which organizations it belongs to."""
        deleted = UserDeleted(organizations=[f"organizations/{name}" for name in organizations])
        event = IdentityEvent(id=derived_id(user.id, "deleted"), user=user.name, user_deleted=deleted)
        event.time.FromDatetime(self._clock.now())
        record = Record(IDENTITY_EVENTS, event.user, event.SerializeToString())
        await self._cassandra.batch([self._outbox.add(event.id, record)])
        self._outbox.wake()

    async def erase(self, user: User) -> None:
        """Remove an account and its address."""
        await self._cassandra.apply(
            Statement(f"DELETE FROM {_KS}.users_by_email WHERE email = ? IF user = ?", (user.email, user.id))
        )
        await self._cassandra.apply(Statement(f"DELETE FROM {_KS}.users WHERE user = ? IF EXISTS", (user.id,)))

    async def memberships(self, user: str) -> Sequence[Membership]:
        """Return where a user belongs."""
        rows = await self._cassandra.execute(f"SELECT organization, role FROM {_KS}.memberships WHERE user = ?", user)
        return [Membership(row.organization, Role[row.role]) for row in rows]

    async def add_device(self, device: Device) -> None:
        """Keep a device until its expire_time."""
        await self._cassandra.apply(
            Statement(
                f"INSERT INTO {_KS}.devices ({_DEVICE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?",
                (
                    device.user,
                    device.id,
                    device.display_name,
                    device.address,
                    device.generation,
                    device.create_time,
                    device.refresh_time,
                    device.expire_time,
                    _life(device),
                ),
            )
        )

    async def device(self, user: str, device: str) -> Device | None:
        """Return a device; None when it is signed out."""
        rows = await self._cassandra.execute(
            f"SELECT {_DEVICE} FROM {_KS}.devices WHERE user = ? AND device = ?", user, device
        )
        return _device(rows[0]) if rows else None

    async def devices(self, user: str) -> Sequence[Device]:
        """Return where a user is signed in, in no order."""
        rows = await self._cassandra.execute(f"SELECT {_DEVICE} FROM {_KS}.devices WHERE user = ?", user)
        return [_device(row) for row in rows]

    async def refresh_device(self, old: Device, new: Device) -> bool:
        """Put `new` in place of `old`; False when its generation is no longer that one."""
        # Every column anew, or those that are left would expire before the others.
        statement = Statement(
            f"UPDATE {_KS}.devices USING TTL ? SET display_name = ?, address = ?, generation = ?, create_time = ?, "
            "refresh_time = ?, expire_time = ? WHERE user = ? AND device = ? IF generation = ?",
            (
                _life(new),
                new.display_name,
                new.address,
                new.generation,
                new.create_time,
                new.refresh_time,
                new.expire_time,
                new.user,
                new.id,
                old.generation,
            ),
        )
        return await self._cassandra.apply(statement) is None

    async def remove_device(self, user: str, device: str) -> None:
        """Sign a device out."""
        await self._cassandra.apply(
            Statement(f"DELETE FROM {_KS}.devices WHERE user = ? AND device = ? IF EXISTS", (user, device))
        )

    async def attempts(self, key: str) -> Attempts | None:
        """Return what failed under `key`; None when nothing did lately."""
        rows = await self._cassandra.execute(f"SELECT failures, until_time FROM {_KS}.attempts WHERE key = ?", key)
        return Attempts(rows[0].failures, rows[0].until_time.replace(tzinfo=UTC)) if rows else None

    async def replace_attempts(self, key: str, old: Attempts | None, new: Attempts | None) -> bool:
        """Put `new` in place of `old`; False when what is there is no longer `old`."""
        if new is None:
            statement = Statement(
                f"DELETE FROM {_KS}.attempts WHERE key = ? IF failures = ?", (key, old.failures if old else None)
            )
        else:
            statement = Statement(
                f"UPDATE {_KS}.attempts USING TTL {int(ATTEMPTS_TTL.total_seconds())} "
                "SET failures = ?, until_time = ? WHERE key = ? IF failures = ?",
                (new.failures, new.until, key, old.failures if old else None),
            )
        return await self._cassandra.apply(statement) is None


def _life(device: Device) -> int:
    return max(1, int((device.expire_time - device.refresh_time).total_seconds()))


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)


def _user(row: Row) -> User:
    return User(
        id=row.user,
        email=row.email,
        display_name=row.display_name or "",
        password_hash=row.password_hash,
        create_time=_utc(row.create_time),
        email_verified=bool(row.email_verified),
        operator=bool(row.operator),
        totp_secret=row.totp_secret or "",
        totp_pending=row.totp_pending or "",
        totp_counter=row.totp_counter or 0,
    )


def _device(row: Row) -> Device:
    return Device(
        user=row.user,
        id=row.device,
        display_name=row.display_name or "",
        address=row.address or "",
        generation=row.generation,
        create_time=_utc(row.create_time),
        refresh_time=_utc(row.refresh_time),
        expire_time=_utc(row.expire_time),
    )
