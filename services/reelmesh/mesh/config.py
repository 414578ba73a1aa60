"""The configuration of an installation: one YAML file, read once at start.

Every setting is defined here: its type, its default and what it means. A key that no setting has is an error that
names it, so that a typing mistake never passes for a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelmesh.mesh.settings import read


@dataclass(frozen=True, slots=True)
class CassandraConfig:
    """The metadata store."""

    contact_points: tuple[str, ...] = ("127.0.0.1",)
    """Addresses of some nodes."""
    port: int = 9042
    """Port of the native protocol."""
    replication: Mapping[str, Any] = field(default_factory=lambda: {"class": "SimpleStrategy", "replication_factor": 1})
    """Replication of keyspaces that are made."""


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Events and the work queue."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """Addresses of some brokers, "host:port" with commas between."""
    partitions: int = 6
    """Partitions of topics that are made."""
    replication: int = 1
    """Copies of topics that are made."""


@dataclass(frozen=True, slots=True)
class ObjectsConfig:
    """Where objects lie, as URLs that obstore knows: file://, s3://, gs://, az://."""

    raw: str
    """Sources, as they were uploaded. Private."""
    media: str
    """Presentations, as players fetch them."""
    models: str = ""
    """What recommendations are made with. Private; empty for a place beside the sources."""


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """How services know each other."""

    certificates: Path
    """Folder with ca.pem and, for each service, NAME.pem and NAME.key."""
    trust_domain: str = "reelmesh.local"
    """Host of every SPIFFE id."""
    topology: Path | None = None
    """The gateway's mesh.yaml, for the retry policy of channels; None for channels without retries."""
    contracts: Path | None = None
    """Descriptor set of all contracts, which the retry policy needs; set it together with topology."""


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """Uploads."""

    max_bytes: int = 1 << 40
    """Largest source accepted, in bytes."""
    idle_days: float = 7
    """Days without a byte after which an upload is swept."""
    sweep_seconds: float = 60
    """Seconds between two sweeps."""
    protected: bool = False
    """Whether the presentation of an upload that asks for neither is encrypted."""


@dataclass(frozen=True, slots=True)
class TranscodeConfig:
    """The transcode control."""

    max_pixels: int = 8192 * 4320
    """Largest picture accepted, width times height."""
    max_hours: float = 8
    """Longest source accepted, in hours."""
    task_seconds: float = 300
    """A worker gives up on a chunk after this long."""
    sound_task_seconds: float = 540
    """A worker gives up on a sound track or an inspection after this long."""
    attempts: int = 3
    """Times a task may fail before its job does."""
    window: int = 8
    """Tasks of one job that may be queued or running at once, so that a long film does not hold up a short one."""
    overdue_seconds: float = 5
    """Seconds between two looks for tasks that nobody answered."""
    protection_scheme: str = "cbcs"
    """How protected videos are encrypted: "cbcs", which every key system plays, or "cenc", for older devices."""


@dataclass(frozen=True, slots=True)
class PlaybackConfig:
    """Playback."""

    session_hours: float = 24
    """Life of a session."""
    media_url: str = "/media"
    """Where players fetch the media store: a path of the gateway, or a CDN's URL."""
    media_keys: Path = Path("keys/media")
    """Folder of the keys that sign tokens of manifests and media; see mesh/keys.py."""
    media_token_minutes: float = 15
    """Life of a media token, besides the length of the film where a player may not know how to renew it."""
    media_signer: str = "gateway"
    """What opens objects at media_url: "gateway" (our own tokens), "cloudfront" (signed URLs), "cat" (Common Access
    Tokens, CTA-5007)."""
    media_signer_key: Path = Path("keys/media-signer.pem")
    """Private key that a CDN's signer signs with, PEM: RSA for cloudfront, P-256 for cat."""
    media_signer_key_id: str = ""
    """What the CDN calls that key."""
    keep_seconds: float = 60
    """How often players say that a viewing goes on."""
    grace_seconds: float = 30
    """How much later a viewing that was not kept gives its place up."""
    places: int = 4
    """Places, as seen from a viewer's network and client, from which one viewing may be kept before it is shared."""
    country_header: str = ""
    """Header in which a CDN before the gateway says where a viewer is (ISO 3166-1 alpha-2). Empty where there is none:
    the CDN must set it on every request, or viewers would choose."""
    license_hours: float = 24
    """How long a license may be used, where a policy does not say."""
    key_systems: tuple[str, ...] = ("org.w3.clearkey",)
    """Key systems, as EME names them, whose license servers are told to players."""


@dataclass(frozen=True, slots=True)
class IdentityConfig:
    """Accounts and sign-ins."""

    keys: Path = Path("keys/identity")
    """Folder of the keys that sign access and refresh tokens; see mesh/keys.py."""
    seal_keys: Path = Path("keys/identity/seal")
    """File of keys that seal what a copy of the database must not tell: 32 bytes in base64url a line, newest first."""
    access_token_minutes: float = 10
    """Life of an access token: so long may a role that was taken away, or a device that was signed out, still count."""
    device_days: float = 30
    """A device that does not come back for this long is signed out."""
    mail_url: str = "smtp://127.0.0.1:25"
    """Where mails go: smtp://user:password@host:port (with STARTTLS), smtps://…, or file:// and a folder, a Maildir."""
    mail_sender: str = "reelmesh <noreply@localhost>"
    """Sender of mails."""


@dataclass(frozen=True, slots=True)
class WidevineConfig:
    """Licenses of Widevine, through a Widevine license service."""

    url: str
    """Where the service takes requests, such as "https://license.widevine.com/cenc/getlicense/PROVIDER"."""
    provider: str
    """Name of the provider that signs."""
    signing_key: Path
    """File with the provider's AES key and initialization vector, a line of hex each."""


@dataclass(frozen=True, slots=True)
class PlayReadyConfig:
    """Licenses of PlayReady, through a PlayReady license server."""

    url: str
    """Where the server takes challenges."""
    secrets: Path
    """File with two secrets of 32 bytes, a line of hex each: what signs messages to the server, and what wraps the keys
    in them."""
    header: str = "x-reelmesh-entitlement"
    """Header that carries the message."""


@dataclass(frozen=True, slots=True)
class FairPlayConfig:
    """Licenses of FairPlay Streaming, through a key security module."""

    url: str
    """Where the module takes SPCs."""
    secret: Path
    """File with the bearer token that the module knows us by."""
    certificate: Path
    """The FairPlay certificate, in DER."""


@dataclass(frozen=True, slots=True)
class DrmConfig:
    """Content keys and licenses."""

    wrapping_keys: Path = Path("keys/drm")
    """Folder of the keys that content keys are wrapped with: 32 bytes in each file, the last by name wraps."""
    wrapping_keys_variable: str = ""
    """Environment variable that holds them instead of the folder: "VERSION:BASE64" with commas between."""
    license_jwks: Path = Path("keys/media/jwks.json")
    """Public keys (JWKS) of what signs license tokens; read again when the file changes."""
    decisions_days: float = 400
    """Days for which the audit log keeps a decision about a license."""
    clear_key: bool = False
    """Give licenses of Clear Key. They show the keys to the player: for tests, and where encryption is to be no more
    than a fence."""
    widevine: WidevineConfig | None = None
    """Licenses of Widevine; none without it."""
    playready: PlayReadyConfig | None = None
    """Licenses of PlayReady; none without it."""
    fairplay: FairPlayConfig | None = None
    """Licenses of FairPlay; none without it."""
    hdcp: Mapping[str, str] = field(default_factory=lambda: {"HD": "HDCP_V1", "UHD": "HDCP_V2_2"})
    """Least protection of a digital output by label of a key: HDCP_NONE, HDCP_V1, HDCP_V2, HDCP_V2_1, HDCP_V2_2 or
    HDCP_V2_3. Labels that are left out need none."""
    hardware: tuple[str, ...] = ("UHD",)
    """Labels of keys that only go to devices which decrypt and decode in hardware."""


@dataclass(frozen=True, slots=True)
class BillingConfig:
    """Entitlements and payments."""

    default_policy: str = "members"
    """Who may watch where an organization says nothing: "members" of it, who is "signed_in", or "anyone"."""
    provider: str = ""
    """Who takes payments: "stripe"; "test" for cards that do not exist; empty where nothing is sold."""
    stripe_key: Path = Path("keys/stripe/key")
    """File with the secret key of Stripe's API."""
    stripe_webhook_secret: Path = Path("keys/stripe/webhook")
    """File with the secret that Stripe signs webhooks with."""
    stripe_url: str = "https://api.stripe.com"
    """Where Stripe's API is."""
    grace_days: float = 3
    """Days for which a subscription goes on when it should have been paid for again."""


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What players measure, on its way in."""

    token_jwks: Path = Path("keys/media/jwks.json")
    """Public keys (JWKS) of what signs telemetry tokens; read again when the file changes."""
    viewer_key: Path = Path("keys/telemetry/viewer")
    """File with the key (32 bytes) that viewers are hashed with. Who changes it makes every viewer a new one."""
    sampling: float = 1.0
    """Part of the viewings that are kept, 0 to 1; each then counts for as many as it stands for."""
    geoip: bool = True
    """Look countries up by address, where playback's country_header says nothing."""


@dataclass(frozen=True, slots=True)
class AnalyticsConfig:
    """The warehouse and what is made of it."""

    dsn: str = ""
    """A ClickHouse server, "clickhouse://user:password@host:port/database". Empty for ClickHouse in the process (chDB),
    which suits one machine."""
    path: Path = Path("warehouse")
    """Folder of chDB's database; it belongs to one process."""
    memory_mb: int = 2048
    """Memory that chDB may use, in MiB."""
    cluster: str = ""
    """Name of the cluster of that server: tables are then made ON CLUSTER, with replicated engines."""
    storage_policy: str = ""
    """Storage policy of raw events, with a volume named "cold" that they move to; empty for the server's own."""
    cold_days: int = 7
    """Days after which raw events move to the cold volume."""
    events_days: int = 90
    """Days for which raw events are kept."""
    batch_events: int = 500_000
    """About how many events are inserted at once, at most."""
    batch_seconds: float = 0.5
    """How long a batch may fill before it is inserted."""
    rollup_seconds: float = 2.0
    """Seconds between two rounds of counting anew what changed."""
    baseline_days: int = 7
    """Days that alerts are held against."""
    alert_seconds: float = 30
    """Seconds between two looks for alerts."""
    popularity_thresholds: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    """Views of a video that are told on Kafka."""


@dataclass(frozen=True, slots=True)
class RecommendConfig:
    """Recommendations."""

    train_hours: float = 24
    """Hours between two models of an organization; 0 where models are only made when someone asks for one."""
    history_days: float = 365
    """Days whose viewings a model learns from."""
    threads: int = 2
    """Threads that train a model."""
    scratch: Path = Path("training")
    """Folder for what a model is trained from, while it is; each process has one of its own in it."""


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """Searching and browsing."""

    path: Path = Path("discovery")
    """Folder of the indexes; each process has a folder of its own within, by its name."""
    threads: int = 0
    """Searches that a process does at once; 0 for as many as there are processors."""
    waiting: int = 200
    """Searches that may wait for those; one more is refused, and another replica may have room."""
    popularity_seconds: float = 30
    """Seconds between two looks at what is watched."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Workers."""

    scratch: Path = Path("scratch")
    """Folder for files while they are worked on."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of an installation."""

    objects: ObjectsConfig
    """Object stores."""
    mesh: MeshConfig
    """Identity of services."""
    services: Mapping[str, tuple[str, ...]]
    """Addresses of each service, "host:port"; a process that serves one listens at the first, or at the one that its
    --replica says."""
    environment: str = "local"
    """Name of the installation, for traces."""
    home: Path = Path()
    """Folder of the installation's own files."""
    public_url: str = "http://127.0.0.1:8080"
    """Where the gateway is reached from outside."""
    cassandra: CassandraConfig = field(default_factory=CassandraConfig)
    """Metadata store."""
    kafka: KafkaConfig = field(default_factory=KafkaConfig)
    """Event store."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    """Uploads."""
    transcode: TranscodeConfig = field(default_factory=TranscodeConfig)
    """Transcode control."""
    playback: PlaybackConfig = field(default_factory=PlaybackConfig)
    """Playback."""
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    """Accounts."""
    drm: DrmConfig = field(default_factory=DrmConfig)
    """Keys and licenses."""
    billing: BillingConfig = field(default_factory=BillingConfig)
    """Entitlements and payments."""
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    """Telemetry."""
    analytics: AnalyticsConfig = field(default_factory=AnalyticsConfig)
    """Reports."""
    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    """Recommendations."""
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    """Searching."""
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    """Workers."""


def load(file: Path) -> Config:
    """Read the configuration at `file`. Raises SettingError naming the setting that is wrong."""
    return read(Config, file)
