"""What may be unsafe about an installation, and what to do about it. Each check reads; none changes anything."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from cryptography import x509

from reelmesh.drm import wrapping
from reelmesh.mesh.config import Config, load
from reelmesh.mesh.keys import KeyRing
from reelmesh.mesh.settings import SettingError
from reelmesh_gateway.mesh import Mesh
from reelmesh_gateway.mesh import load as load_mesh
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.keys import jwks_file
from reelmesh_tools.stack.plan import Plan

EXPIRY_WARNING = dt.timedelta(days=14)
LEAST_FREE_BYTES = 10 << 30
"""A film of an hour and its renditions take about as much."""
PROBE_SECONDS = 5.0
RESTART = "reelmesh down, then reelmesh up"
"""Makes what is missing, and renews what is about to end."""


class Level(Enum):
    """How bad it is."""

    UNSAFE = "unsafe"
    """Someone may take, change or stop what they should not."""
    WARNING = "warning"
    """It works, and may not for long, or with a fence less."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    check: str
    """Stable name of the check, for scripts."""
    level: Level
    message: str
    """What is wrong, and where."""
    remedy: str
    """What to do."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the checks look at."""

    stack: Stack
    plan: Plan
    config: Config
    mesh: Mesh
    now: dt.datetime

    @classmethod
    def read(cls, stack: Stack, now: dt.datetime) -> Installation:
        """Read the configuration of a stack that was started before. Raises StackError, SettingError."""
        planned = stack.plan
        config = load(stack.layout.services_file)
        if config.mesh.topology is None:
            raise SettingError("mesh.topology: must be given to judge the gateway")
        return cls(stack, planned, config, load_mesh(config.mesh.topology), now)


Check = Callable[[Installation], Iterator[Finding]]


def examine(installation: Installation) -> list[Finding]:
    """Return every finding, the unsafe ones first."""
    found = [finding for check in CHECKS.values() for finding in check(installation)]
    return sorted(found, key=lambda finding: finding.level is not Level.UNSAFE)


def private_files(installation: Installation) -> Iterator[Finding]:
    """Keys are read by their owner only."""
    config = installation.config
    private = [*config.mesh.certificates.glob("*.key"), config.identity.seal_keys]
    private += [file for folder in _signing(config) for file in folder.glob("*.pem")]
    private += [file for file in [installation.stack.layout.credentials_file] if file.exists()]
    if not config.drm.wrapping_keys_variable:
        private += config.drm.wrapping_keys.glob("*")
    private += [config.telemetry.viewer_key, *_license_secrets(config)]
    if config.billing.provider == "stripe":
        private += [config.billing.stripe_key, config.billing.stripe_webhook_secret]
    for file in private:
        mode = file.stat().st_mode & 0o777
        if mode & 0o077:
            yield Finding(
                "private_files", Level.UNSAFE, f"{file} has mode {mode:04o}: others may read it", f"chmod 600 {file}"
            )


def certificates(installation: Installation) -> Iterator[Finding]:
    """Services can go on proving who they are."""
    for file in sorted(installation.config.mesh.certificates.glob("*.pem")):
        left = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc - installation.now
        if left < EXPIRY_WARNING:
            level = Level.UNSAFE if left <= dt.timedelta() else Level.WARNING
            yield Finding(
                "certificates",
                level,
                f"{file} ends in {left.days} days",
                RESTART,
            )


def token_keys(installation: Installation) -> Iterator[Finding]:
    """What signs tokens and what checks them belong together, and the latter tells no secret."""
    for folder in _signing(installation.config):
        try:
            ring = KeyRing.load(folder)
            published = json.loads(jwks_file(folder).read_text())["keys"]
        except (OSError, ValueError, KeyError) as error:
            yield Finding("token_keys", Level.UNSAFE, f"keys of tokens cannot be read: {error}", RESTART)
            continue
        if any("d" in key for key in published):
            message = f"{jwks_file(folder)} holds private keys"
            yield Finding("token_keys", Level.UNSAFE, message, f"remove the keys; {RESTART}")
        if published != ring.jwks()["keys"]:
            message = f"the gateway does not know the keys of {folder} that sign now"
            yield Finding("token_keys", Level.WARNING, message, RESTART)


def _signing(config: Config) -> list[Path]:
    return [config.playback.media_keys, config.identity.keys]


def wrapping_keys(installation: Installation) -> Iterator[Finding]:
    """Content keys can be wrapped; without their wrapping keys every protected video is lost."""
    config = installation.config.drm
    if config.wrapping_keys_variable:
        return  # it is in the environment of the services, not in ours
    try:
        wrapping.folder(config.wrapping_keys)()
    except (OSError, ValueError) as error:
        message = f"content keys cannot be unwrapped: {error}"
        yield Finding("wrapping_keys", Level.UNSAFE, message, "put the files back from where they are kept safe")


def media_guard(installation: Installation) -> Iterator[Finding]:
    """Media opens by token only."""
    path = urlsplit(installation.config.playback.media_url).path.rstrip("/") + "/"
    guarded = [each for service in installation.mesh.services.values() for each in service.guarded]
    if not any(path.startswith(each) for each in guarded):
        yield Finding("media_guard", Level.UNSAFE, f"{path} is served to everyone", "list it as `guarded` in mesh.yaml")
    if not installation.stack.is_running():
        return
    url = f"{installation.plan.gateway_url}{path}doctor"
    try:
        status = httpx.get(url, timeout=PROBE_SECONDS, trust_env=False).status_code
    except httpx.TransportError as error:
        yield Finding("media_guard", Level.WARNING, f"the gateway does not answer: {error}", "reelmesh status")
        return
    if status != httpx.codes.UNAUTHORIZED:
        yield Finding(
            "media_guard", Level.UNSAFE, f"the gateway answers {url} with {status}, not 401", "reelmesh down, up"
        )


def exposure(installation: Installation) -> Iterator[Finding]:
    """What has no credentials of its own is reached from this machine only, and passwords travel by TLS."""
    config, gateway = installation.config, installation.mesh.gateway
    reached = [("cassandra.contact_points", host) for host in config.cassandra.contact_points]
    brokers = config.kafka.bootstrap_servers.split(",")
    reached += [("kafka.bootstrap_servers", broker.rpartition(":")[0]) for broker in brokers]
    for setting, host in reached:
        if not _is_loopback(host):
            message = f"{setting} is {host}: reached without credentials, from more than this machine"
            yield Finding("exposure", Level.UNSAFE, message, "keep it on the loopback, or behind a network of its own")
    if not _is_loopback(gateway.listen) and gateway.tls is None:
        message = f"the gateway listens at {gateway.listen} without TLS: passwords and tokens can be read on their way"
        yield Finding("exposure", Level.UNSAFE, message, "give it a certificate: gateway.tls in mesh.yaml")
    public = urlsplit(config.public_url)
    if public.scheme != "https" and not _is_loopback(public.hostname or ""):
        message = f"public_url is {config.public_url}: passwords and tokens can be read on their way"
        yield Finding("exposure", Level.UNSAFE, message, "serve it by https, here or before the gateway")


def rates(installation: Installation) -> Iterator[Finding]:
    """Nobody who is not of this machine may ask without end."""
    gateway = installation.mesh.gateway
    unlimited = not gateway.limits.address_rate.per_second or not gateway.limits.person_rate.per_second
    if unlimited and not _is_loopback(gateway.listen):
        message = "the gateway limits no one's rate, or not everyone's"
        yield Finding("rates", Level.WARNING, message, "set address_rate and person_rate in mesh.yaml")


def payments(installation: Installation) -> Iterator[Finding]:
    """Test cards open what is worth money to whoever knows their numbers, which everyone does."""
    if installation.config.billing.provider == "test" and not _is_loopback(installation.mesh.gateway.listen):
        message = "billing.provider is test: anyone gets what is sold, and pays nothing"
        yield Finding("payments", Level.UNSAFE, message, "set billing.provider to stripe, or leave it empty")


def origins(installation: Installation) -> Iterator[Finding]:
    """Only pages that are named may call what changes something."""
    if "*" in installation.mesh.gateway.cors.origins:
        yield Finding(
            "origins",
            Level.UNSAFE,
            "any site's page may call every rpc",
            "name them in gateway.cors.origins of mesh.yaml",
        )


def sandbox(installation: Installation) -> Iterator[Finding]:
    """Media tools run behind every fence that there is."""
    if shutil.which("bwrap") is None:
        message = "bubblewrap is not installed: media tools run under limits and whitelists only"
        yield Finding("sandbox", Level.WARNING, message, "install bubblewrap")


def room(installation: Installation) -> Iterator[Finding]:
    """There is room for what comes next."""
    home: Path = installation.stack.layout.home
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE_BYTES:
        yield Finding("room", Level.WARNING, f"{free >> 20} MiB are free at {home}", "make room, or move REELMESH_HOME")


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        private_files,
        certificates,
        token_keys,
        wrapping_keys,
        media_guard,
        exposure,
        rates,
        payments,
        origins,
        sandbox,
        room,
    )
}


def _license_secrets(config: Config) -> Iterator[Path]:
    if config.drm.widevine:
        yield config.drm.widevine.signing_key
    if config.drm.playready:
        yield config.drm.playready.secrets
    if config.drm.fairplay:
        yield config.drm.fairplay.secret


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
