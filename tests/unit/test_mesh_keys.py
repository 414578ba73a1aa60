from __future__ import annotations

import json
import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from reelmesh.mesh.keys import KeyRing, PublicKeys, TokenForged
from reelmesh_tools.stack import keys as stack_keys

CLAIMS = {"iss": "us", "aud": "media", "sub": "someone", "exp": 4_000_000_000}


def put(folder: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> None:
    private = (key or ec.generate_private_key(ec.SECP256R1())).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.pem").write_bytes(private)


def read(ring: KeyRing, token: str) -> dict[str, object]:
    return ring.read(token, issuer="us", audience="media")


def test_the_newest_key_signs_and_all_are_believed(tmp_path: Path) -> None:
    put(tmp_path, "0001")
    before = KeyRing.load(tmp_path)
    old = before.sign(CLAIMS)
    put(tmp_path, "0002")
    after = KeyRing.load(tmp_path)
    new = after.sign(CLAIMS)
    assert jwt.get_unverified_header(new)["kid"] == "0002"
    assert read(after, old) == read(after, new) == CLAIMS
    with pytest.raises(TokenForged):
        read(before, new)
    (tmp_path / "0001.pem").unlink()
    with pytest.raises(TokenForged):
        read(KeyRing.load(tmp_path), old)


def test_time_is_left_to_the_caller(tmp_path: Path) -> None:
    put(tmp_path, "1")
    ring = KeyRing.load(tmp_path)
    assert read(ring, ring.sign({**CLAIMS, "exp": 1}))["exp"] == 1


@pytest.mark.parametrize(
    "change", [{"iss": "them"}, {"aud": "manifests"}, {"exp": None}, {"sub": None}], ids=lambda c: next(iter(c))
)
def test_a_token_for_something_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    put(tmp_path, "1")
    ring = KeyRing.load(tmp_path)
    claims = {name: value for name, value in {**CLAIMS, **change}.items() if value is not None}
    with pytest.raises(TokenForged):
        read(ring, ring.sign(claims))


def test_what_nobody_of_us_signed_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1")
    ring = KeyRing.load(tmp_path)
    good = ring.sign(CLAIMS)
    public = (
        ring.keys["1"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    stranger = KeyRing({"1": ec.generate_private_key(ec.SECP256R1())})
    for forged in (
        "",
        "a.b.c",
        good[:-4] + "AAAA",
        stranger.sign(CLAIMS),
        KeyRing({"2": ring.keys["1"]}).sign(CLAIMS),
        jwt.encode(CLAIMS, "", "none", headers={"kid": "1"}),
        jwt.encode(CLAIMS, public.hex(), "HS256", headers={"kid": "1"}),
    ):
        with pytest.raises(TokenForged):
            read(ring, forged)


def test_folders_without_a_usable_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no key"):
        KeyRing.load(tmp_path)
    for wrong in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        put(tmp_path, "1", wrong)
        with pytest.raises(ValueError, match=r"1\.pem"):
            KeyRing.load(tmp_path)


def test_the_stack_makes_one_key_and_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "keys" / "media"
    stack_keys.ensure(folder)
    first = KeyRing.load(folder)
    stack_keys.ensure(folder)
    assert KeyRing.load(folder).jwks() == first.jwks()
    (key,) = folder.glob("*.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    put(folder, "0002")
    stack_keys.ensure(folder)
    published = json.loads(stack_keys.jwks_file(folder).read_text())["keys"]
    assert [each["kid"] for each in published] == ["0001", "0002"]
    assert all(each.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"} for each in published), "no private part"


def test_public_keys_follow_their_file(tmp_path: Path) -> None:
    folder = tmp_path / "keys" / "media"
    stack_keys.ensure(folder)
    public = PublicKeys(stack_keys.jwks_file(folder))
    old = KeyRing.load(folder).sign(CLAIMS)
    put(folder, "0002")
    new = KeyRing.load(folder).sign(CLAIMS)
    assert public.read(old, issuer="us", audience="media") == CLAIMS
    with pytest.raises(TokenForged):
        public.read(new, issuer="us", audience="media")
    stack_keys.ensure(folder)
    assert public.read(new, issuer="us", audience="media") == CLAIMS
    with pytest.raises(TokenForged):
        public.read(new, issuer="them", audience="media")
    (folder / "0001.pem").unlink()
    stack_keys.ensure(folder)
    with pytest.raises(TokenForged):
        public.read(old, issuer="us", audience="media")


def test_public_keys_outlive_a_broken_file(tmp_path: Path) -> None:
    folder = tmp_path / "keys" / "media"
    stack_keys.ensure(folder)
    file = stack_keys.jwks_file(folder)
    public = PublicKeys(file)
    token = KeyRing.load(folder).sign(CLAIMS)
    for broken in ("", "{", "[]", '{"keys": [{}]}', '{"keys": [{"kid": "1", "kty": "oct"}]}'):
        file.write_text(broken)
        assert public.read(token, issuer="us", audience="media") == CLAIMS
        with pytest.raises(ValueError, match=r".+"):
            PublicKeys(file)
    file.unlink()
    assert public.read(token, issuer="us", audience="media") == CLAIMS
