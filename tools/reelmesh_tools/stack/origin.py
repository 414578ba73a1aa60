"""Caddy as the origin: the media objects under /media/, the web player everywhere else."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from reelmesh_tools.stack import probes
from reelmesh_tools.stack.files import write_whole
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.plan import Plan
from reelmesh_tools.stack.spec import ProcessSpec, Stage

HEALTH_PATH = "/-/healthy"

_CADDYFILE = """\
{{
	admin off
	auto_https off
	persist_config off
	grace_period 2s
	log {{
		level WARN
	}}
}}

http://:{port} {{
	bind 127.0.0.1

	handle {health} {{
		respond "healthy"
	}}

	handle_path /media/* {{
		root * "{media}"
		# An object never changes under its name.
		header Cache-Control "public, max-age=31536000, immutable"
		# Said here because the system's own table of types, where there is one, differs from machine to machine.
		@video path *.mp4
		header @video Content-Type video/mp4
		@segment path *.m4s
		header @segment Content-Type video/iso.segment
		@audio path *.m4a
		header @audio Content-Type audio/mp4
		@text path *.vtt
		header @text Content-Type "text/vtt; charset=utf-8"
		@image path *.jpg *.jpeg
		header @image Content-Type image/jpeg
		file_server
	}}

	handle {{
		root * "{web}"
		@unbuilt not file /index.html
		handle @unbuilt {{
			header Cache-Control no-store
			respond "The web player has not been built yet: run `make web`, then reload this page."
		}}
		@hashed path /assets/*
		header @hashed Cache-Control "public, max-age=31536000, immutable"
		@page not path /assets/*
		header @page Cache-Control no-cache
		# A path of the player's own router has no file behind it and no extension.
		@route {{
			not path_regexp \\.[^/]+$
			not file {{path}}
		}}
		rewrite @route /index.html
		file_server
	}}

	handle_errors {{
		# A segment that does not exist yet may exist in a second: an error must not be cached as the object would be.
		header Cache-Control no-store
		header Content-Type "text/plain; charset=utf-8"
		respond "{{err.status_code}} {{err.status_text}}"
	}}
}}
"""


def spec(layout: Layout, plan: Plan, web: Path) -> ProcessSpec:
    """Render the Caddyfile and return how to run Caddy; `web` is the folder of the built player, there or not."""
    config = layout.config / "Caddyfile"
    write_whole(config, render(layout.media_objects, web, plan.ports["caddy"]))
    caddy = Path(sysconfig.get_path("scripts")) / "caddy"
    return ProcessSpec(
        name="caddy",
        command=(str(caddy), "run", "--config", str(config), "--adapter", "caddyfile"),
        probe=probes.http_ok(plan.ports["caddy"], HEALTH_PATH),
        stage=Stage.EDGE,
        environment={
            "XDG_DATA_HOME": str(layout.data("caddy")),
            "XDG_CONFIG_HOME": str(layout.data("caddy")),
            # It serves files to one Envoy; its garbage collector may work a little more for less memory.
            "GOGC": "50",
        },
        stop_seconds=5.0,
    )


def render(media: Path, web: Path, port: int) -> str:
    """Return a Caddyfile that serves the two folders on 127.0.0.1:`port`."""
    return _CADDYFILE.format(port=port, health=HEALTH_PATH, media=_quotable(media), web=_quotable(web))


def _quotable(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
