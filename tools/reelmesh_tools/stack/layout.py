"""Where everything of one local stack lies on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_SOCKET_PATH_LIMIT = 100


@dataclass(frozen=True)
class Layout:
    """The folders and files of the stack that lives at `home`; two homes never share one."""

    home: Path
    """Absolute folder of this stack (REELMESH_HOME)."""

    @classmethod
    def at(cls, home: Path) -> Layout:
        """Return the layout of the stack at `home`, which need not exist yet."""
        return cls(home.expanduser().resolve())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Layout:
        """Return the layout that REELMESH_HOME names, `.reelmesh` in the current folder by default."""
        return cls.at(Path(environment.get("REELMESH_HOME") or ".reelmesh"))

    def create(self) -> None:
        """Create the folders that every process expects, readable by this user only."""
        for folder in (self.home, self.logs, self.run, self.certificates, self.config, self.scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.raw_objects, self.media_objects):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def stack_file(self) -> Path:
        """What this stack consists of: its ports and processes."""
        return self.home / "stack.yaml"

    @property
    def services_file(self) -> Path:
        """The configuration of the reelmesh processes."""
        return self.home / "reelmesh.yaml"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """What only a running stack needs: state, locks, the control socket, ready files."""
        return self.home / "run"

    @property
    def state_file(self) -> Path:
        """What the supervisor last said about its processes."""
        return self.run / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by whoever starts or stops this stack."""
        return self.run / "up.lock"

    @property
    def certificates(self) -> Path:
        """The local authority and one certificate per service."""
        return self.home / "certs"

    @property
    def media_keys(self) -> Path:
        """The keys that sign tokens of manifests and media, and jwks.json for the gateway."""
        return self.home / "keys" / "media"

    @property
    def identity_keys(self) -> Path:
        """The keys that sign people's tokens, and jwks.json for the gateway."""
        return self.home / "keys" / "identity"

    @property
    def seal_keys(self) -> Path:
        """The keys that seal what the accounts' database holds of second factors."""
        return self.home / "keys" / "seal"

    @property
    def mail(self) -> Path:
        """Mails that a platform without a mail server would have sent: a Maildir."""
        return self.home / "mail"

    @property
    def credentials_file(self) -> Path:
        """How the owner signs in: address, password, and the key of the command line."""
        return self.home / "credentials.json"

    @property
    def wrapping_keys(self) -> Path:
        """The keys that content keys are wrapped with."""
        return self.home / "keys" / "drm"

    @property
    def viewer_key(self) -> Path:
        """The key that viewers are hashed with in telemetry."""
        return self.home / "keys" / "telemetry" / "viewer"

    @property
    def warehouse(self) -> Path:
        """Folder of the warehouse (chDB)."""
        return self.data("warehouse")

    @property
    def indexes(self) -> Path:
        """Folder of the indexes of titles, one for each process that searches."""
        return self.data("discovery")

    @property
    def config(self) -> Path:
        """Configuration rendered for the servers."""
        return self.home / "config"

    @property
    def scratch(self) -> Path:
        """Room for the workers' temporary files."""
        return self.home / "scratch"

    @property
    def raw_objects(self) -> Path:
        """The bucket of uploaded sources."""
        return self.home / "objects" / "raw"

    @property
    def media_objects(self) -> Path:
        """The bucket of packaged media, which the origin serves."""
        return self.home / "objects" / "media"

    @property
    def model_objects(self) -> Path:
        """The bucket of what recommendations are made with."""
        return self.home / "objects" / "models"

    @property
    def control_socket(self) -> Path:
        """The supervisor's socket; in the temporary folder where the path in `run` would be too long."""
        inside = self.run / "control.sock"
        if len(os.fsencode(inside)) <= _SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"reelmesh-{os.getuid()}-{digest}.sock"

    def data(self, name: str) -> Path:
        """Return the folder where the server `name` keeps its data."""
        return self.home / "data" / name

    def log(self, name: str) -> Path:
        """Return the log file of the process `name`."""
        return self.logs / f"{name}.log"

    def ready_file(self, name: str) -> Path:
        """Return the file that the reelmesh process `name` writes once it serves."""
        return self.run / f"{name}.ready"


def repository() -> Path:
    """Return the root of the checkout, which holds deploy/ and gateway/ beside tools/."""
    return Path(__file__).resolve().parents[3]
