"""reelmesh.yaml: what every reelmesh process has to know about the others and its stores."""

from __future__ import annotations

import yaml

from reelmesh_tools.stack import keys
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.layout import Layout, repository
from reelmesh_tools.stack.plan import TRUST_DOMAIN, Plan

COUNTRY_HEADER = "x-viewer-country"
"""Header in which a viewer's country is told. A CDN would set its own; on one machine, where all addresses are the
machine's, whoever calls says where they pretend to be."""


def write(layout: Layout, plan: Plan) -> None:
    """Write reelmesh.yaml, which tells every process where the others and its stores are."""
    host, _, port = plan.cassandra.rpartition(":")
    content = {
        "environment": "local",
        "home": str(layout.home),
        "public_url": plan.gateway_url,
        "cassandra": {
            "contact_points": [host],
            "port": int(port),
            "replication": {"class": "SimpleStrategy", "replication_factor": 1},
        },
        # Partitions are for several processes to share; on one machine each makes batches smaller, which cost more.
        "kafka": {"bootstrap_servers": plan.kafka, "partitions": 2},
        "objects": {
            "raw": layout.raw_objects.as_uri(),
            "media": layout.media_objects.as_uri(),
            "models": layout.model_objects.as_uri(),
        },
        "mesh": {
            "certificates": str(layout.certificates),
            "trust_domain": TRUST_DOMAIN,
            "topology": str(repository() / "gateway" / "mesh.yaml"),
            "contracts": str(repository() / "envoy" / "reelmesh.binpb"),
        },
        "services": plan.service_addresses,
        # On one machine a renewal costs nothing, and a player that crashed shall not be in the way for long.
        "playback": {
            "media_keys": str(layout.media_keys),
            "keep_seconds": 20,
            "grace_seconds": 10,
            "country_header": COUNTRY_HEADER,
        },
        "identity": {
            "keys": str(layout.identity_keys),
            "seal_keys": str(layout.seal_keys),
            "mail_url": layout.mail.as_uri(),
        },
        "drm": {
            "wrapping_keys": str(layout.wrapping_keys),
            "license_jwks": str(keys.jwks_file(layout.media_keys)),
            "clear_key": True,
        },
        "billing": {"default_policy": "anyone", "provider": "test"},
        "telemetry": {
            "token_jwks": str(keys.jwks_file(layout.media_keys)),
            "viewer_key": str(layout.viewer_key),
        },
        "analytics": {"path": str(layout.warehouse)},
        "recommend": {"scratch": str(layout.home / "training")},
        "discovery": {"path": str(layout.indexes)},
        "worker": {"scratch": str(layout.scratch)},
    }
    write_whole(layout.services_file, yaml.safe_dump(content, sort_keys=False))
