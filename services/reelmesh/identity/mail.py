"""Mails that identity sends, and the ways they go: by SMTP, or into a folder on a machine without a mail server."""

from __future__ import annotations

import asyncio
import mailbox
import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

SMTP_SECONDS = 15.0
"""A mail server has this long to answer."""


class Mailer(Protocol):
    """Sends mails."""

    async def send(self, message: EmailMessage) -> None:
        """Send a message; `From` is filled in. Raises OSError, smtplib.SMTPException."""


class FolderMailer:
    """Puts mails into a Maildir, where any mail reader finds them."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, message: EmailMessage) -> None:
        """Put a message there."""
        message["From"] = self._sender
        await asyncio.to_thread(self._put, message)

    def _put(self, message: EmailMessage) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        mailbox.Maildir(self._folder).add(mailbox.MaildirMessage(message))


class SmtpMailer:
    """Hands mails to a server: ``smtp://user:password@host:587`` (STARTTLS) or ``smtps://…:465``."""

    def __init__(self, url: SplitResult, sender: str) -> None:
        self._url = url
        self._sender = sender

    async def send(self, message: EmailMessage) -> None:
        """Hand a message over."""
        message["From"] = self._sender
        await asyncio.to_thread(self._hand_over, message)

    def _hand_over(self, message: EmailMessage) -> None:
        host = self._url.hostname or "localhost"
        if self._url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, self._url.port or 465, timeout=SMTP_SECONDS)
        else:
            server = smtplib.SMTP(host, self._url.port or 587, timeout=SMTP_SECONDS)
        with server:
            if self._url.scheme == "smtp":
                server.starttls()
            if self._url.username:
                server.login(unquote(self._url.username), unquote(self._url.password or ""))
            server.send_message(message)


def mailer(url: str, sender: str) -> Mailer:
    """Return the mailer that `url` names: ``smtp://``, ``smtps://`` or ``file://``. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderMailer(Path(unquote(parts.path)), sender)
    if parts.scheme in {"smtp", "smtps"}:
        return SmtpMailer(parts, sender)
    raise ValueError(f"identity.mail_url: {parts.scheme}:// is none of smtp://, smtps://, file://")


def verification(email: str, link: str) -> EmailMessage:
    """Write the mail that asks to confirm an address."""
    return _message(email, "Confirm your address", f"Open this page to confirm that this address is yours:\n\n{link}\n")


def password_reset(email: str, link: str) -> EmailMessage:
    """Write the mail that lets a password be set anew."""
    text = f"Open this page within the hour to choose a new password:\n\n{link}\n\n"
    return _message(email, "Choose a new password", f"{text}If it was not you who asked, do nothing.\n")


def _message(email: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["To"] = email
    message["Subject"] = subject
    message.set_content(text)
    return message
