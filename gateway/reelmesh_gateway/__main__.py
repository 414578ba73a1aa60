"""Write, or check, the example configuration that is kept in ``envoy/``: ``python -m reelmesh_gateway [--check]``.

It shows what the gateway is told, with loopback addresses in place of real ones, and a change of mesh.yaml or of a
contract shows there as a difference that can be read. A running stack writes its own with `reelmesh_gateway.write`.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
import tempfile
from pathlib import Path

from reelmesh.mesh.settings import SettingError
from reelmesh_gateway.guard import KeyFiles
from reelmesh_gateway.validate import InvalidConfigurationError, validate
from reelmesh_gateway.write import write

_EXAMPLE_ADDRESSES = {
    "ingest": ["127.0.0.1:9001"],
    "transcode": ["127.0.0.1:9002"],
    "catalog": ["127.0.0.1:9003"],
    "playback": ["127.0.0.1:9004"],
    "identity": ["127.0.0.1:9005"],
    "drm": ["127.0.0.1:9006"],
    "billing": ["127.0.0.1:9007"],
    "telemetry": ["127.0.0.1:9008"],
    "analytics": ["127.0.0.1:9009"],
    "recommend": ["127.0.0.1:9011"],
    "discovery": ["127.0.0.1:9010", "127.0.0.1:9012"],
    "origin": ["127.0.0.1:9080"],
}
_CONTRACTS = "reelmesh.binpb"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 where --check finds a difference or Envoy refuses the result."""
    parser = argparse.ArgumentParser(prog="python -m reelmesh_gateway", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files are out of date")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="root of the source tree")
    options = parser.parse_args(arguments)
    # Paths in the example are relative to the tree, so that it is the same wherever the tree lies.
    os.chdir(options.root)
    try:
        return _check() if options.check else _write()
    except (SettingError, InvalidConfigurationError) as error:
        print(error, file=sys.stderr)  # noqa: T201, a command
        return 1


def _write() -> int:
    validate(_example(Path("envoy")))
    return 0


def _check() -> int:
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="reelmesh-envoy-") as name:
        fresh = Path(name)
        for folder in ("envoy", "gateway"):
            (fresh / folder).mkdir()
        shutil.copyfile(here / "envoy" / _CONTRACTS, fresh / "envoy" / _CONTRACTS)
        shutil.copyfile(here / "gateway" / "mesh.yaml", fresh / "gateway" / "mesh.yaml")
        os.chdir(fresh)
        try:
            _example(Path("envoy"))
        finally:
            os.chdir(here)
        made = {file.name for file in (fresh / "envoy").iterdir()}
        kept = {file.name for file in (here / "envoy").iterdir()}
        _, different, odd = filecmp.cmpfiles(fresh / "envoy", here / "envoy", sorted(made & kept), shallow=False)
    stale = sorted({*different, *odd, *(made ^ kept)})
    if stale:
        print(f"envoy/ is out of date ({', '.join(stale)}): run python -m reelmesh_gateway", file=sys.stderr)  # noqa: T201
        return 1
    validate(Path("envoy", "bootstrap.yaml"))
    return 0


def _example(out: Path) -> Path:
    return write(
        Path("gateway", "mesh.yaml"),
        out,
        gateway_port=8080,
        admin_port=9901,
        addresses=_EXAMPLE_ADDRESSES,
        certificates=Path("certificates"),
        keys=KeyFiles(Path("keys", "media", "jwks.json"), Path("keys", "identity", "jwks.json")),
        descriptor_set=out / _CONTRACTS,
    )


if __name__ == "__main__":
    sys.exit(main())
