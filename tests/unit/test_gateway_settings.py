from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reelmesh.mesh.settings import SettingError
from reelmesh_gateway.mesh import Mesh, load

ROOT = Path(__file__).parents[2]


def mesh(tmp_path: Path, text: str) -> Mesh:
    file = tmp_path / "mesh.yaml"
    file.write_text(text)
    return load(file)


def test_what_is_left_out_takes_a_safe_default(tmp_path: Path) -> None:
    loaded = mesh(tmp_path, "services: {a: {}, b: {timeout: 250ms, retry: {attempts: 0}}}")
    assert loaded.services["a"].timeout == timedelta(seconds=15)
    assert loaded.services["a"].callers == ()
    assert loaded.services["b"].timeout == timedelta(milliseconds=250)
    assert loaded.services["b"].retry.attempts == 0
    assert loaded.routed() == {}
    assert loaded.gateway.cors.origins == ()
    assert loaded.spiffe_id("a") == "spiffe://reelmesh.local/a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {timeot: 1s}}", "services.a.timeot: unknown setting; did you mean 'timeout'?"),
        ("services: {a: {retry: {zzz: 1}}}", "services.a.retry.zzz: unknown setting; known are attempts"),
        ("services: {a: {timeout: 0s}}", "services.a.timeout: 0s is below the least"),
        ("services: {a: {timeout: 15}}", "services.a.timeout: must be a duration"),
        ("services: {a: {retry: {attempts: 9}}}", "services.a.retry.attempts: 9 is above the most, 5"),
        ("services: {a: {retry: {attempts: yes}}}", "services.a.retry.attempts: must be an integer, not True"),
        ("services: {a: {grpc: x.Y}}", "services.a.grpc: must be a list"),
        ("services: {a: {callers: [b]}}", "services.a.callers: no service is named 'b'"),
        ("services: {a: {grpc: [x.Y]}, b: {grpc: [x.Y]}}", "services.b: x.Y is served by a already"),
        ("services: {a: {grpc: [x.Y, x.Y]}}", "services.a.grpc: an entry stands there twice"),
        ("services: {a: {grpc: [x.Y], paths: [/]}}", "services.a.paths: a gRPC service's routes"),
        ("services: {a: {}, a: {}}", "line 1: 'a' stands there twice"),
        ("services: {gateway: {}}", "services.gateway: not a usable name"),
        ("gateway: {limits: {max_request_bytes: 0}}\nservices: {}", "gateway.limits.max_request_bytes: 0 is below"),
        ("gateway: {limits: {max_request_bytes: 1MB}}\nservices: {}", "must be a size"),
        ('gateway: {access_log: {fields: {p: "%REQ(:PATH)%"}}}\nservices: {}', "would write queries"),
        ('gateway: {access_log: {fields: {p: "%REQ(X?:PATH)%"}}}\nservices: {}', "would write queries"),
        ("trust_domain: a", "services: must be given"),
        ("[]", "the file: must be a mapping"),
        ("services: [", "while parsing"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        mesh(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path / "mesh.yaml") in str(caught.value)


def test_every_setting_has_a_manual() -> None:
    source = (ROOT / "gateway/reelmesh_gateway/mesh.py").read_text()
    seen: set[type] = set()
    todo: list[Any] = [Mesh]
    while todo:
        cls = todo.pop()
        seen.add(cls)
        for field in fields(cls):
            declaration = source.index(f"    {field.name}: ", source.index(f"class {cls.__name__}:"))
            after = source[declaration:].split("\n")[1]
            assert after.startswith('    """'), f"{cls.__name__}.{field.name}"
            if is_dataclass(field.default) and type(field.default) not in seen:
                todo.append(type(field.default))
