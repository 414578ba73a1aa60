from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from reelmesh.ingest.v1 import upload_service_pb2 as _upload_service  # noqa: F401, fills the default pool
from reelmesh.mesh.settings import SettingError
from reelmesh_gateway.contracts import Contracts, HttpRule, check, with_error_details
from reelmesh_gateway.mesh import load
from reelmesh_gateway.service_config import service_config

ROOT = Path(__file__).parents[2]
DESCRIPTORS = ROOT / "envoy" / "reelmesh.binpb"


def test_rpcs_say_who_may_call_and_how() -> None:
    methods = {
        method.name: method for method in Contracts.read(DESCRIPTORS).methods("reelmesh.ingest.v1.UploadService")
    }
    assert methods["GetUpload"].no_side_effects
    assert methods["GetUpload"].path == "/reelmesh.ingest.v1.UploadService/GetUpload"
    assert not methods["CreateUpload"].no_side_effects
    assert methods["PutUpload"].client_streaming
    assert methods["PutUpload"].http[0].verb == "PUT"
    start = Contracts.read(DESCRIPTORS).methods("reelmesh.transcode.v1.TaskService")[0]
    assert (start.people, start.callers) == (False, frozenset({"worker"}))


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/v1/{name=organizations/*/uploads/*}:write", "/v1/organizations/a/uploads/b:write", True),
        ("/v1/{name=organizations/*/uploads/*}:write", "/v1/organizations/a/uploads/b", False),
        ("/v1/{name=organizations/*/uploads/*}:write", "/v1/organizations/a/b/uploads/c:write", False),
        ("/v1/{video=a/*}/hls/{track}/index.m3u8", "/v1/a/b/hls/v720/index.m3u8", True),
        ("/v1/{video=a/*}/hls/main.m3u8", "/v1/a/b/hls/mainXm3u8", False),
        ("/v1/{name=files/**}", "/v1/files/a/b/c", True),
    ],
)
def test_template_to_expression(template: str, path: str, matches: bool) -> None:
    assert bool(re.fullmatch(HttpRule("GET", template, "").regex(), path)) is matches


def test_mesh_and_contracts_agree(tmp_path: Path) -> None:
    contracts = Contracts.read(DESCRIPTORS)
    check(load(ROOT / "gateway/mesh.yaml"), contracts)
    file = tmp_path / "mesh.yaml"
    file.write_text("services: {a: {grpc: [reelmesh.Nothing]}}")
    with pytest.raises(SettingError, match=r"services\.a\.grpc: no contract defines reelmesh\.Nothing"):
        check(load(file), contracts)
    file.write_text("services: {a: {grpc: [reelmesh.transcode.v1.TaskService]}}")
    with pytest.raises(SettingError, match=r"lacks worker, which /reelmesh.*/StartTask admits"):
        check(load(file), contracts)


def test_error_details_are_added_once() -> None:
    once = with_error_details(DESCRIPTORS.read_bytes())
    names = [file.name for file in FileDescriptorSet.FromString(once).file]
    assert "google/rpc/error_details.proto" in names
    assert len(names) == len(set(names))
    assert with_error_details(once) == once


def test_service_config() -> None:
    mesh = load(ROOT / "gateway/mesh.yaml")
    text = service_config(mesh, "ingest", FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()))
    assert text == service_config(mesh, "ingest", descriptor_pool.Default())
    config = json.loads(text)
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    safe, other = config["methodConfig"]
    assert {name["method"] for name in safe["name"]} == {"GetUpload", "ListUploads"}
    assert {name["method"] for name in other["name"]} == {"CreateUpload", "CancelUpload"}
    assert safe["timeout"] == other["timeout"] == "15.000s"
    assert safe["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert "retryPolicy" not in other
