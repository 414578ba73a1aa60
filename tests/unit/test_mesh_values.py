"""Configuration, names, ids, errors and what may be logged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.rpc import error_details_pb2

from reelmesh.ingest.v1.upload_service_pb2 import WriteUploadRequest
from reelmesh.mesh import config, errors
from reelmesh.mesh.annotations import access_of, loggable
from reelmesh.mesh.clock import SystemClock, TimeOrderedIds, derived_id
from reelmesh.mesh.names import UploadName, VideoName, decode_page_token, encode_page_token
from reelmesh.mesh.settings import SettingError

MINIMAL = """
objects: {raw: "file:///r", media: "file:///m"}
mesh: {certificates: /c}
services: {ingest: ["127.0.0.1:1"]}
"""


def read(tmp_path: Path, text: str) -> config.Config:
    file = tmp_path / "reelmesh.yaml"
    file.write_text(text)
    return config.load(file)


def test_defaults_fill_what_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, MINIMAL)
    assert found.cassandra.port == 9042
    assert found.services["ingest"] == ("127.0.0.1:1",)
    assert found.mesh.certificates == Path("/c")


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ("cassandra: {prot: 1}", "cassandra.prot"),
        ("cassandra: {port: many}", "cassandra.port"),
        ("kafka: 3", "kafka"),
        ("typo: 1", "typo"),
        ("ingest: {idle_days: true}", "ingest.idle_days"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, extra: str, where: str) -> None:
    with pytest.raises(SettingError, match=where):
        read(tmp_path, MINIMAL + extra)


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="objects"):
        read(tmp_path, "services: {}\nmesh: {certificates: /c}")


def test_names_go_both_ways() -> None:
    name = "organizations/acme/uploads/01920000-0000-7000-8000-000000000000"
    assert str(UploadName.parse(name)) == name
    with pytest.raises(ValueError, match="videos"):
        VideoName.parse(name)


def test_ids_sort_by_time() -> None:
    class Later:
        now_ = datetime(2026, 1, 1, tzinfo=UTC)

        def now(self) -> datetime:
            self.now_ += timedelta(milliseconds=1)
            return self.now_

    ids = TimeOrderedIds(Later())
    made = [ids.new() for _ in range(100)]
    assert made == sorted(made)
    assert len(set(made)) == 100


def test_derived_ids_are_stable_and_keep_the_time() -> None:
    base = TimeOrderedIds(SystemClock()).new()
    assert derived_id(base, "job") == derived_id(base, "job")
    assert derived_id(base, "job") != derived_id(base, "video")
    assert derived_id(base, "job")[:13] == base[:13]


@pytest.mark.parametrize("token", ["!!", "a", "\u00e9"])
def test_a_foreign_page_token_is_refused(token: str) -> None:
    with pytest.raises(errors.PageTokenInvalid):
        decode_page_token(token)


def test_page_tokens_go_both_ways() -> None:
    assert decode_page_token(encode_page_token("01920000-x")) == "01920000-x"
    assert not encode_page_token("")


def test_retry_info_is_rendered() -> None:
    status = errors.to_status(errors.Unavailable("later", retry_after=timedelta(seconds=2)), "reelmesh.test")
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 2


def test_access_comes_from_the_contract() -> None:
    assert access_of("/reelmesh.ingest.v1.UploadService/NoSuch") is None
    assert access_of("/no.such.Service/X") is None
    import reelmesh.transcode.v1.task_service_pb2  # noqa: F401, PLC0415 - registers the contract

    access = access_of("/reelmesh.transcode.v1.TaskService/StartTask")
    assert access is not None
    assert list(access.services) == ["worker"]


def test_media_has_no_place_in_a_log() -> None:
    shown = loggable(WriteUploadRequest(name="n", data=b"secret bytes"), b"key")
    assert shown == {"name": "n"}
