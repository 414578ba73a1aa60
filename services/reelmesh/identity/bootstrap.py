"""The first organization of an installation and who owns it."""

from __future__ import annotations

from reelmesh.identity.accounts import Accounts
from reelmesh.identity.organizations import Organizations
from reelmesh.mesh.person import Role


class Bootstrap:
    """Makes what nobody could ask for, because there is nobody yet."""

    def __init__(self, accounts: Accounts, organizations: Organizations) -> None:
        self._accounts = accounts
        self._organizations = organizations

    async def begin(self, organization: str, email: str, password: str) -> str:
        """Make an organization and its owner, who is an operator too; return the key of a new service account.

        What is there stays as it is, whoever owns it by now.
        """
        owner = await self._accounts.find(email)
        if owner is None:
            owner = await self._accounts.make(email, password, "Owner", operator=True)
        await self._organizations.create(organization, organization, open_registration=True, owner=owner)
        _, key = await self._organizations.create_service_account(organization, "Command line", Role.OWNER, ())
        return key
