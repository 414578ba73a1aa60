from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from reelmesh_tools.stack import certificates

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())


def test_each_service_has_its_identity(tmp_path: Path) -> None:
    assert certificates.ensure(tmp_path, NOW)
    authority = certificate(tmp_path, "ca")
    for name in certificates.IDENTITIES:
        leaf = certificate(tmp_path, name)
        leaf.verify_directly_issued_by(authority)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://reelmesh.local/{name}"]
        assert names.get_values_for_type(x509.DNSName) == [f"{name}.mesh", "localhost"]
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        key_usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        assert key_usage.digital_signature
        assert not key_usage.key_cert_sign
        public_key = leaf.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        assert public_key.curve.name == "secp256r1"


def test_files_are_for_this_user_only_and_no_signing_key_is_kept(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, NOW)
    names = {path.name for path in tmp_path.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    assert "ca.key" not in names
    assert "ca.pem" in names
    assert len(names) == 1 + 2 * len(certificates.IDENTITIES)


@pytest.mark.parametrize(("days", "renewed"), [(0, False), (334, False), (336, True), (400, True)])
def test_they_are_renewed_thirty_days_before_their_end(tmp_path: Path, days: int, renewed: bool) -> None:
    certificates.ensure(tmp_path, NOW)
    before = (tmp_path / "ingest.pem").read_bytes()
    assert certificates.ensure(tmp_path, NOW + dt.timedelta(days=days)) is renewed
    assert ((tmp_path / "ingest.pem").read_bytes() != before) is renewed


@pytest.mark.parametrize("damage", ["ingest.pem", "ingest.key", "ca.pem"])
def test_a_missing_file_or_another_authority_makes_all_anew(tmp_path: Path, damage: str) -> None:
    certificates.ensure(tmp_path, NOW)
    (tmp_path / damage).unlink()
    assert certificates.ensure(tmp_path, NOW)
    assert not certificates.ensure(tmp_path, NOW)


def test_two_services_complete_a_mutual_handshake(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, dt.datetime.now(dt.UTC))

    def context(purpose: ssl.Purpose, name: str) -> ssl.SSLContext:
        made = ssl.create_default_context(purpose, cafile=str(tmp_path / "ca.pem"))
        made.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    near, far = socket.socketpair()
    seen = []

    def serve() -> None:
        with context(ssl.Purpose.CLIENT_AUTH, "ingest").wrap_socket(far, server_side=True) as server:
            seen.append(server.getpeercert())
            server.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    with context(ssl.Purpose.SERVER_AUTH, "cli").wrap_socket(near, server_hostname="ingest.mesh") as client:
        client.send(b"x")
        assert "spiffe://reelmesh.local/ingest" in str(client.getpeercert())
    thread.join(5)
    assert "spiffe://reelmesh.local/cli" in str(seen[0])
