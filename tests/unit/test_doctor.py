"""Each check finds what it is for, in an installation that is otherwise as `reelmesh up` makes it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
from collections import namedtuple
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from reelmesh.mesh.settings import SettingError
from reelmesh_gateway.mesh import Rate, Tls
from reelmesh_tools.doctor import checks
from reelmesh_tools.doctor.checks import Installation, Level, examine
from reelmesh_tools.stack import certificates, configuration, keys, plan
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.layout import Layout

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1 << 40, 0, 1 << 40))
    layout = Layout.at(tmp_path)
    layout.create()
    made = plan.make(layout.stack_file, {"REELMESH_PORT": "39999"}, None, random.SystemRandom())
    certificates.ensure(layout.certificates, NOW)
    keys.ensure(layout.media_keys)
    keys.ensure(layout.identity_keys)
    keys.ensure_seal(layout.seal_keys)
    keys.ensure_wrapping(layout.wrapping_keys)
    keys.ensure_viewer(layout.viewer_key)
    configuration.write(layout, made)
    return Installation.read(Stack(layout), NOW)


def found(installation: Installation) -> list[tuple[str, Level]]:
    return [(finding.check, finding.level) for finding in examine(installation)]


def changed(value: Any, **changes: Any) -> Any:
    """Return a frozen dataclass with changes, those of nested ones given by ``outer__inner``."""
    for path, new in changes.items():
        name, _, rest = path.partition("__")
        inner = changed(getattr(value, name), **{rest: new}) if rest else new
        value = dataclasses.replace(value, **{name: inner})
    return value


def test_what_up_makes_is_safe(installation: Installation) -> None:
    assert found(installation) == []


def test_keys_that_others_may_read(installation: Installation) -> None:
    for file in (
        installation.config.mesh.certificates / "ingest.key",
        installation.config.playback.media_keys / "0001.pem",
        installation.config.drm.wrapping_keys / "0001",
        installation.config.identity.keys / "0001.pem",
        installation.config.identity.seal_keys,
        installation.config.telemetry.viewer_key,
    ):
        file.chmod(0o640)
        assert found(installation) == [("private_files", Level.UNSAFE)]
        file.chmod(0o600)


@pytest.mark.parametrize(("days", "level"), [(352, Level.WARNING), (366, Level.UNSAFE)])
def test_certificates_near_their_end(installation: Installation, days: int, level: Level) -> None:
    later = dataclasses.replace(installation, now=NOW + dt.timedelta(days=days))
    assert set(found(later)) == {("certificates", level)}


@pytest.mark.parametrize("whose", ["playback.media_keys", "identity.keys"])
def test_token_keys_that_do_not_fit(installation: Installation, whose: str) -> None:
    folder: Path = attrgetter(whose)(installation.config)
    jwks = json.loads(keys.jwks_file(folder).read_text())
    keys.jwks_file(folder).write_text(json.dumps({"keys": []}))
    assert found(installation) == [("token_keys", Level.WARNING)]
    jwks["keys"][0]["d"] = "secret"
    keys.jwks_file(folder).write_text(json.dumps(jwks))
    assert ("token_keys", Level.UNSAFE) in found(installation)
    (folder / "0001.pem").unlink()
    assert found(installation) == [("token_keys", Level.UNSAFE)]


def test_wrapping_keys_that_are_gone(installation: Installation) -> None:
    file = installation.config.drm.wrapping_keys / "0001"
    file.write_bytes(b"short")
    assert found(installation) == [("wrapping_keys", Level.UNSAFE)]
    file.unlink()
    assert found(installation) == [("wrapping_keys", Level.UNSAFE)]
    assert found(changed(installation, config__drm__wrapping_keys_variable="KEYS")) == []


def test_media_without_a_guard(installation: Installation) -> None:
    origin = installation.mesh.services["origin"]
    services = {**installation.mesh.services, "origin": dataclasses.replace(origin, guarded=())}
    assert found(changed(installation, mesh__services=services)) == [("media_guard", Level.UNSAFE)]
    assert found(changed(installation, config__playback__media_url="/elsewhere")) == [("media_guard", Level.UNSAFE)]


@pytest.mark.parametrize(
    "change",
    [
        {"config__public_url": "http://video.example.com"},
        {"config__cassandra__contact_points": ("127.0.0.1", "10.0.0.7")},
        {"config__kafka__bootstrap_servers": "kafka-1:9092,127.0.0.1:9092"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_reached_from_outside(installation: Installation, change: dict[str, Any]) -> None:
    assert found(changed(installation, **change)) == [("exposure", Level.UNSAFE)]


def test_a_gateway_for_everyone(installation: Installation, tmp_path: Path) -> None:
    everywhere = changed(installation, mesh__gateway__listen="0.0.0.0")  # noqa: S104 - that is what is found
    opened = changed(everywhere, config__billing__provider="")
    assert found(opened) == [("exposure", Level.UNSAFE)]
    tls = Tls(certificate=tmp_path / "edge.pem", key=tmp_path / "edge.key")
    assert found(changed(opened, mesh__gateway__tls=tls)) == []
    assert found(changed(opened, mesh__gateway__tls=tls, mesh__gateway__limits__person_rate=Rate())) == [
        ("rates", Level.WARNING)
    ]
    assert found(changed(everywhere, mesh__gateway__tls=tls)) == [("payments", Level.UNSAFE)]


def test_loopback_has_many_names(installation: Installation) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert found(changed(installation, config__public_url=f"http://{host}:8080")) == []


def test_every_site_is_too_many(installation: Installation) -> None:
    assert found(changed(installation, mesh__gateway__cors__origins=("*",))) == [("origins", Level.UNSAFE)]


def test_a_fence_less_and_no_room_are_warnings(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr(checks, "LEAST_FREE_BYTES", 1 << 50)
    assert found(installation) == [("sandbox", Level.WARNING), ("room", Level.WARNING)]


def test_where_there_is_nothing_to_examine(tmp_path: Path) -> None:
    with pytest.raises(StackError):
        Installation.read(Stack(Layout.at(tmp_path)), NOW)


def test_a_configuration_without_a_gateway(installation: Installation) -> None:
    file = installation.stack.layout.services_file
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "topology" not in line))
    with pytest.raises(SettingError, match="topology"):
        Installation.read(installation.stack, NOW)
