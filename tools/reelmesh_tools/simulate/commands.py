"""`reelmesh simulate`: an audience for demos and load."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from reelmesh.catalog.v1.video_pb2 import Video
from reelmesh.catalog.v1.video_service_pb2 import ListVideosRequest
from reelmesh_tools.client.commands import connected
from reelmesh_tools.client.platform import CALL_SECONDS, Platform
from reelmesh_tools.simulate.model import MINUTE_MS, Viewing, audience
from reelmesh_tools.simulate.player import Film, Rung
from reelmesh_tools.simulate.sending import Pace, Sender, Tally
from reelmesh_tools.stack.configuration import COUNTRY_HEADER

MOST_MINUTES = 23 * 60
"""Telemetry of more than 24 hours ago is refused; an hour is left for sending it."""
MOST_FILMS = 20


def register(app: typer.Typer) -> None:
    """Add `simulate` to `app`."""
    app.command()(simulate)


def simulate(
    viewers: Annotated[int, typer.Option(min=1, max=1_000_000, help="People who watch.")] = 200,
    minutes: Annotated[int, typer.Option(min=1, max=MOST_MINUTES, help="Minutes in which they come and go.")] = 30,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same audience; any when left out.")] = None,
    live: Annotated[bool, typer.Option(help="Let it happen now, minute by minute, not in the minutes before.")] = False,
    speed: Annotated[
        float, typer.Option(min=0, help="Tell of the past so many times as fast as it was; 0 does not wait.")
    ] = 0.0,
    burst: Annotated[bool, typer.Option(help="A premiere: most come at once.")] = False,
    country_header: Annotated[
        str, typer.Option(help="Header in which the installation is told a viewer's country; empty tells none.")
    ] = COUNTRY_HEADER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Send an audience to watch what there is, and print what it measured; telemetry only, no media is fetched."""
    if live and speed:
        raise typer.BadParameter("--live has the speed of time")
    chosen = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    with connected(as_json=as_json) as platform:
        films = _films(platform)
        if not films:
            _nothing_to_watch(as_json=as_json)
        viewings = audience(chosen, viewers, minutes, films, burst=burst)
        began = time.monotonic()
        with _bar(len(viewings), hidden=as_json) as progress:
            tally = asyncio.run(
                _play(platform, viewings, minutes, 1.0 if live else speed, country_header, progress, live=live)
            )
        result = _result(tally, time.monotonic() - began)
    result = {"seed": chosen, "viewers": viewers, "minutes": minutes, "videos": len(films), **result}
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(_table(result))


async def _play(
    platform: Platform,
    viewings: list[Viewing],
    minutes: int,
    speed: float,
    country_header: str,
    progress: Callable[[int], None],
    *,
    live: bool,
) -> Tally:
    now = time.time_ns() // 1_000_000
    pace = Pace(now if live else now - minutes * MINUTE_MS, speed)
    sender = Sender(platform.url, platform.parent, country_header, pace, minutes, live=live)
    try:
        await sender.play(viewings, progress)
    finally:
        await sender.close()
    return sender.tally


def _films(platform: Platform) -> list[Film]:
    """Return what can be watched, newest first, each with its renditions."""
    listed = platform.videos.ListVideos(ListVideosRequest(parent=platform.parent, page_size=100), timeout=CALL_SECONDS)
    films = []
    for video in listed.videos:
        ladder = sorted(
            (Rung(track.video.height, track.peak_bitrate // 1000) for track in video.tracks if track.HasField("video")),
            key=lambda rung: rung.kbps,
        )
        length = round(video.duration.ToTimedelta().total_seconds() * 1000)
        if video.state in {Video.STATE_READY, Video.STATE_PLAYABLE} and ladder and length:
            films.append(Film(video.name, length, ladder))
    return films[:MOST_FILMS]


def _nothing_to_watch(*, as_json: bool) -> NoReturn:
    message = "there is no video to watch: upload one with `reelmesh upload film.mp4`, or run `make demo`"
    if as_json:
        typer.echo(json.dumps({"error": {"reason": "NO_VIDEO", "message": message}}, indent=2))
    else:
        typer.echo(message, err=True)
    raise typer.Exit(1)


def _result(tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "events_sent": tally.events_sent,
        "distinct_events": tally.distinct_events,
        "views": tally.views,
        "watch_seconds": tally.watch_ms / 1000,
        "stall_seconds": tally.stall_ms / 1000,
        "starts": tally.starts,
        "failures": tally.failures,
        "exits_before_start": tally.exits,
        "stalls": tally.stalls,
        "refused": tally.refused.total(),
        "refusals": dict(tally.refused),
        "not_entitled": tally.not_entitled,
        "sampled_out": tally.sampled_out,
        "retries": tally.retries,
        "seconds": round(seconds, 3),
    }


@contextmanager
def _bar(total: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("viewings"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bars:
        task = bars.add_task("", total=total)
        yield lambda over: bars.update(task, completed=over)


def _table(result: dict[str, Any]) -> Table:
    title = f"{result['viewers']} viewers in {result['minutes']} minutes, seed {result['seed']}"
    table = Table("what", "measured", title=title)
    watched, stalled = result["watch_seconds"], result["stall_seconds"]
    rows = {
        "views": result["views"],
        "starts": result["starts"],
        "exits before the start": result["exits_before_start"],
        "failures": result["failures"],
        "watched": f"{watched / 3600:.2f} h",
        "stalled": f"{stalled:.1f} s in {result['stalls']} stalls",
        "rebuffer ratio": f"{stalled / (stalled + watched) if watched else 0:.2%}",
        "events, repeats": f"{result['distinct_events']}, {result['events_sent'] - result['distinct_events']}",
        "refused": ", ".join(f"{count} {reason}" for reason, count in result["refusals"].items()) or "0",
        "sent in": f"{result['seconds']:.1f} s, {result['retries']} calls again",
    }
    for what, value in rows.items():
        table.add_row(what, str(value))
    return table
