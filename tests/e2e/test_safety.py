"""What `reelmesh up` makes is what `reelmesh doctor` calls safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]


def test_a_local_platform_is_safe_until_a_key_can_be_read(
    stack: Stack, reelmesh: Callable[..., dict[str, Any]]
) -> None:
    report = reelmesh("doctor")
    assert report["safe"]
    assert "media_guard" in report["checks"]
    assert not [finding for finding in report["findings"] if finding["level"] != "warning"]

    key = stack.layout.certificates / "catalog.key"
    key.chmod(0o644)
    try:
        report = reelmesh("doctor", code=1)
    finally:
        key.chmod(0o600)
    assert not report["safe"]
    (finding,) = (finding for finding in report["findings"] if finding["level"] == "unsafe")
    assert finding["check"] == "private_files"
    assert finding["remedy"] == f"chmod 600 {key}"
