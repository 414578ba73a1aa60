"""A certificate authority for one stack and one certificate per service, the identities of the local mesh."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reelmesh_tools.stack.plan import TRUST_DOMAIN

IDENTITIES = (
    "gateway",
    "ingest",
    "transcode",
    "worker",
    "catalog",
    "playback",
    "identity",
    "drm",
    "billing",
    "telemetry",
    "analytics",
    "recommend",
    "discovery",
    "cli",
)
"""Everyone who speaks in the mesh; each gets spiffe://reelmesh.local/<name>."""

_LIFETIME = dt.timedelta(days=365)
_RENEW_BEFORE = dt.timedelta(days=30)
# A verifier whose clock is a little behind must not refuse a new certificate.
_BACKDATE = dt.timedelta(minutes=5)


def ensure(folder: Path, now: dt.datetime, identities: Iterable[str] = IDENTITIES) -> bool:
    """Make sure that `folder` holds ca.pem and NAME.pem, NAME.key for each identity, good for 30 more days.

    The authority's key is not kept: when anything is missing or about to end, everything is made anew, so no leaf can
    belong to another authority and no key that signs lies about. Returns whether new ones were made. Files are
    readable by this user only.
    """
    names = tuple(identities)
    if all(_is_good(folder, name, now) for name in ("ca", *names)):
        return False
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, now)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _leaf(name, key.public_key(), authority, authority_key, now)
        _write(
            folder / f"{name}.key",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        _write(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
    _write(folder / "ca.pem", authority.public_bytes(serialization.Encoding.PEM))
    return True


def _is_good(folder: Path, name: str, now: dt.datetime) -> bool:
    """Say whether the certificate is there, signed by this folder's authority, and far from its end."""
    try:
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        certificate.verify_directly_issued_by(authority)
        key_found = name == "ca" or (folder / f"{name}.key").stat().st_size > 0
    except Exception:  # whatever is wrong with the files, the answer is to make new ones
        return False
    return key_found and certificate.not_valid_after_utc - now > _RENEW_BEFORE


def _authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reelmesh local authority")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    alternatives = [
        x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}/{name}"),
        x509.DNSName(f"{name}.mesh"),
        x509.DNSName("localhost"),
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"reelmesh {name}")]))
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        # Every service is a server and a client of others.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that was never readable by others, and rename it over."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    beside.replace(path)
