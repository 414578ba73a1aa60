"""`reelmesh bench …`: what the platform costs beside the plain way, and what it gives."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import grpc
import psutil  # type: ignore[import-untyped, unused-ignore]
import typer
from rich.console import Console
from rich.table import Table

from reelmesh_tools.bench import (
    choosing,
    discovery,
    faults,
    freshness,
    licenses,
    pipeline,
    playback,
    recommend,
    reports,
    search,
    telemetry,
    upload,
)
from reelmesh_tools.bench.errors import BenchError
from reelmesh_tools.bench.meter import pids_of
from reelmesh_tools.client.following import JobMissing
from reelmesh_tools.client.platform import Platform, problem_of
from reelmesh_tools.stack.client import Stack, StackError
from reelmesh_tools.stack.layout import Layout

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def register(app: typer.Typer) -> None:
    """Add `bench` to `app`."""
    group = typer.Typer(help="Measure the running platform beside the plain way.", no_args_is_help=True)
    group.command(name="upload")(bench_upload)
    group.command(name="pipeline")(bench_pipeline)
    group.command(name="playback")(bench_playback)
    group.command(name="licenses")(bench_licenses)
    group.command(name="reports")(bench_reports)
    group.command(name="telemetry")(bench_telemetry)
    group.command(name="faults")(bench_faults)
    group.command(name="search")(bench_search)
    group.command(name="discovery")(bench_discovery)
    group.command(name="freshness")(bench_freshness)
    group.command(name="recommend")(bench_recommend)
    group.command(name="choosing")(bench_choosing)
    app.add_typer(group, name="bench")


def parse_size(text: str) -> int:
    """Return the bytes that "1GiB", "500 MB" or "4096" mean. Raises typer.BadParameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", text.strip().lower())
    size = int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    if size < 1:
        raise typer.BadParameter(f"{text} is no size; write 512MiB, 1GiB or 500MB")
    return size


def bench_upload(
    size: Annotated[str, typer.Option(help="Bytes to upload in each round, such as 1GiB.")] = "1GiB",
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Turns of each contender.")] = 3,
    as_json: _Json = False,
) -> None:
    """Upload through the gateway, and by plain HTTP PUT to disk, turn by turn."""
    bytes_ = parse_size(size)
    with _measuring(as_json=as_json) as (stack, platform, say):
        pids = pids_of(stack, "ingest", "envoy")
        result = upload.measure(platform, stack.layout.home, pids, bytes_, rounds, say)
    _print(result, _upload_table, as_json=as_json)


def bench_pipeline(
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, readable=True, help="The source; a clip when left out.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of the clip made here.")] = 60.0,
    as_json: _Json = False,
) -> None:
    """Encode a source by the platform, then by one plain ffmpeg."""
    with _measuring(as_json=as_json) as (stack, platform, say):
        result = pipeline.measure(platform, stack.layout.home, file, seconds, say)
    _print(result, _pipeline_table, as_json=as_json)


def bench_playback(
    seconds: Annotated[float, typer.Option(min=1, max=300, help="How long each rpc is called.")] = 10.0,
    in_flight: Annotated[int, typer.Option(min=1, max=512, help="Calls under way at once.")] = 32,
    as_json: _Json = False,
) -> None:
    """Begin viewings and fetch manifests through the gateway, as many as it gives."""
    with _measuring(as_json=as_json) as (stack, platform, say):
        pids = pids_of(stack, "control", "envoy", "cassandra")
        result = playback.measure(platform, pids, seconds, in_flight, say)
    _print(result, _playback_table, as_json=as_json)


def bench_licenses(
    seconds: Annotated[float, typer.Option(min=1, max=300, help="How long licenses are asked for.")] = 10.0,
    in_flight: Annotated[int, typer.Option(min=1, max=512, help="Connections at once.")] = 32,
    as_json: _Json = False,
) -> None:
    """Ask for licenses of Clear Key through the gateway, with new tokens and with known ones."""
    with _measuring(as_json=as_json) as (stack, _, say):
        pids = pids_of(stack, "control", "envoy", "cassandra", "kafka")
        result = licenses.measure(stack, pids, seconds, in_flight, say)
    _print(result, _licenses_table, as_json=as_json)


def bench_reports(
    events: Annotated[int, typer.Option(min=100_000, help="Events to report over.")] = 50_000_000,
    keep: Annotated[Path | None, typer.Option(file_okay=False, help="Make the warehouse there, and keep it.")] = None,
    as_json: _Json = False,
) -> None:
    """Make a crowd of viewings in a warehouse of its own, and time every report over it; needs no running stack."""
    with Console(stderr=True, quiet=as_json).status("") as status, ExitStack() as stack:
        try:
            folder = keep or Path(stack.enter_context(TemporaryDirectory(prefix="reelmesh-bench-")))
            result = reports.measure(folder, events, status.update)
        except BenchError as error:
            _fail("BENCH_FAILED", str(error), as_json=as_json)
    _print(result, _reports_table, as_json=as_json)


def bench_telemetry(
    events: Annotated[int, typer.Option(min=0, help="Events to send each way; 0 for as many as are taken.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long to send each way, at most.")] = 60.0,
    as_json: _Json = False,
) -> None:
    """Send telemetry to a platform of its own, until it can be asked for; then chDB alone, with the same records."""
    with _saying(as_json=as_json) as say:
        result = telemetry.measure(events, seconds, say)
    _print(result, _telemetry_table, as_json=as_json)


def bench_search(
    titles: Annotated[int, typer.Option(min=1000, help="Titles of the library that is searched.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Decides on the library, and on the queries.")] = 1,
    as_json: _Json = False,
) -> None:
    """Index and search a seeded library in a process, beside plain tantivy; needs no running stack."""
    with _saying(as_json=as_json) as say:
        result = search.measure(titles, seed, say)
    _print(result, _search_table, as_json=as_json)


def bench_discovery(
    titles: Annotated[int, typer.Option(min=1000, help="Titles of the library.")] = 200_000,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds for each way of asking.")] = 20,
    in_flight: Annotated[int, typer.Option(min=1, max=256, help="Calls under way at once.")] = 8,
    viewers: Annotated[int, typer.Option(min=0, help="Viewers whose home pages are asked for; 0 for none.")] = 200,
    seed: Annotated[int, typer.Option(help="Decides on the library, the queries and the viewers.")] = 1,
    as_json: _Json = False,
) -> None:
    """Search a large library, have its indexes built anew, and ask for home pages, on a platform of its own."""
    with _saying(as_json=as_json) as say:
        result = discovery.measure(titles, seed, seconds, in_flight, viewers, say)
    _print(result, _discovery_table, as_json=as_json)
    if result["differences"]:
        raise typer.Exit(1)


def bench_freshness(
    titles: Annotated[int, typer.Option(min=0, help="Titles beside those that are edited.")] = 20_000,
    seconds: Annotated[float, typer.Option(min=10, help="Seconds of editing.")] = 90,
    seed: Annotated[int, typer.Option(help="Decides on the library.")] = 1,
    as_json: _Json = False,
) -> None:
    """Find edited titles by their new names while replicas are killed, on a platform of its own."""
    with _saying(as_json=as_json) as say:
        result = freshness.measure(titles, seed, seconds, say)
    _print(result, _freshness_table, as_json=as_json)


def bench_faults(
    events: Annotated[int, typer.Option(min=1000, help="Different events to send.")] = 5_000_000,
    seed: Annotated[int, typer.Option(help="Decides on who is killed when, and on the events.")] = 1,
    as_json: _Json = False,
) -> None:
    """Kill what takes events in while they are sent to a platform of its own; exits with 1 if any figure differs."""
    with _saying(as_json=as_json) as say:
        result = faults.measure(events, seed, say)
    _print(result, _faults_table, as_json=as_json)
    raise typer.Exit(1 if result["differences"] else 0)


def bench_recommend(
    interactions: Annotated[
        list[int] | None, typer.Option(min=50_000, help="Pairs of viewer and title; repeat it.")
    ] = None,
    titles: Annotated[int, typer.Option(min=1000, help="Titles of the audience.")] = 20_000,
    nearest: Annotated[
        list[int] | None, typer.Option(min=0, help="Titles whose vectors are looked through; repeat it, 0 for none.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads that train.")] = 2,
    seed: Annotated[int, typer.Option(help="Decides on the audience.")] = 1,
    as_json: _Json = False,
) -> None:
    """Train on generated audiences, ask the gate, and look for neighbours in memory and in a Cassandra of its own."""
    sizes = [each for each in (nearest or [20_000, 200_000]) if each]
    with _saying(as_json=as_json) as say:
        result = recommend.measure(interactions or [1_000_000, 2_000_000, 4_000_000], titles, sizes, threads, seed, say)
    _print(result, _recommend_table, as_json=as_json)


def bench_choosing(
    titles: Annotated[int, typer.Option(min=1000, max=50_000, help="Titles of the library.")] = 10_000,
    viewers: Annotated[int, typer.Option(min=500, max=50_000, help="Viewers of the audience.")] = 4000,
    seed: Annotated[int, typer.Option(help="Decides on the library and the audience.")] = 1,
    as_json: _Json = False,
) -> None:
    """Hold ways to choose titles against each other, for a generated audience; needs no running stack."""
    with _saying(as_json=as_json) as say:
        result = choosing.measure(titles, viewers, seed, say)
    _print(result, _choosing_table, as_json=as_json)


@contextmanager
def _saying(*, as_json: bool) -> Iterator[Callable[[str], None]]:
    """Give a way to say what is going on; turn errors into exit code 1."""
    try:
        with Console(stderr=True, quiet=as_json).status("") as status:
            yield status.update
    except grpc.RpcError as error:
        problem = problem_of(error)
        _fail(problem.reason or problem.code.name, problem.message, as_json=as_json)
    except (StackError, BenchError, JobMissing) as error:
        _fail("BENCH_FAILED", str(error), as_json=as_json)
    except psutil.NoSuchProcess as error:
        _fail("BENCH_FAILED", f"a process of the stack ended meanwhile: {error}", as_json=as_json)


@contextmanager
def _measuring(*, as_json: bool) -> Iterator[tuple[Stack, Platform, Callable[[str], None]]]:
    """Give the running stack, a client of it, and a way to say what is going on; turn errors into exit code 1."""
    stack = Stack(Layout.from_environment(os.environ))
    with _saying(as_json=as_json) as say:
        _require_running(stack)
        with Platform.of_stack(stack.layout, stack.plan.gateway_url) as platform:
            yield stack, platform, say


def _require_running(stack: Stack) -> None:
    if not stack.is_running():
        raise StackError(f"no stack runs at {stack.layout.home}: start one with `reelmesh up`")


def _fail(reason: str, message: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"error": {"reason": reason, "message": message}}, indent=2))
    else:
        typer.echo(f"{reason}: {message}", err=True)
    raise typer.Exit(1)


def _print(result: dict[str, Any], table: Callable[[dict[str, Any]], Table], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(table(result))


def _upload_table(result: dict[str, Any]) -> Table:
    mib = result["size_bytes"] / (1 << 20)
    table = Table(
        "way",
        "MB/s",
        "median",
        "of plain",
        "CPU seconds",
        "ingest's peak",
        title=f"{mib:.0f} MiB in each of {result['rounds']} rounds, load {result['load_average']}",
    )
    ratios = {
        "grpc": result["ratio"],
        "slices": result["slices_ratio"],
        "proxied": result["proxied_ratio"],
        "plain": 1.0,
    }
    names = {
        "grpc": "WriteUpload",
        "slices": "PUT by slices",
        "proxied": "plain PUT, bare Envoy",
        "plain": f"plain PUT ({result['plain_server']})",
    }
    for key, each in result["contenders"].items():
        cpu = {"client": each["client_cpu_seconds"], **each["server_cpu_seconds"]}
        peak = each["ingest_rss_peak_bytes"]
        table.add_row(
            names[key],
            " ".join(f"{speed:.0f}" for speed in each["mb_per_second"]),
            f"{each['median_mb_per_second']:.0f}",
            f"{ratios[key]:.2f}",
            ", ".join(f"{name} {sum(values) / len(values):.2f}" for name, values in cpu.items()),
            f"{peak / (1 << 20):.0f} MiB" if peak else "",
        )
    return table


def _playback_table(result: dict[str, Any]) -> Table:
    return _rate_table(result, "sessions", "manifests")


def _licenses_table(result: dict[str, Any]) -> Table:
    return _rate_table(result, "fresh", "repeated")


def _rate_table(result: dict[str, Any], *names: str) -> Table:
    title = f"{result['in_flight']} at once for {result['seconds']:.0f} s each, load {result['load_average']}"
    table = Table("what", "per second", "p50", "p99", "CPU seconds", title=title)
    for name in names:
        each = result[name]
        cpu = ", ".join(f"{process} {seconds:.1f}" for process, seconds in each["cpu_seconds"].items())
        table.add_row(name, f"{each['per_second']:.0f}", f"{each['p50_ms']} ms", f"{each['p99_ms']} ms", cpu)
    return table


def _reports_table(result: dict[str, Any]) -> Table:
    title = f"{result['events']:,} events, {result['bytes_per_event']} bytes each, load {result['load_average']}"
    table = Table("report", "rows", "p50", "p95", "plain count", title=title)
    for name, each in result["reports"].items():
        plain = result["plain"].get(name)
        times = (f"{each['p50_ms']} ms", f"{each['p95_ms']} ms", f"{plain['p50_ms']} ms" if plain else "")
        table.add_row(name, f"{each['rows']:,}", *times)
    return table


def _pipeline_table(result: dict[str, Any]) -> Table:
    size = f"{result['source_seconds']:.0f} s, {result['source_bytes'] / 1e6:.1f} MB"
    table = Table("what", "value", title=f"{size}, {len(result['renditions'])} tracks, load {result['load_average']}")
    table.add_row("upload", f"{result['upload_seconds']:.2f} s")
    table.add_row("playable after", f"{result['playable_seconds']:.2f} s")
    table.add_row("ready after", f"{result['ready_seconds']:.2f} s")
    table.add_row("plain ffmpeg", f"{result['plain_seconds']:.2f} s")
    table.add_row("ready / plain", f"{result['ratio']:.2f}")
    table.add_row("read by workers / source", f"{result['read_ratio']:.2f}")
    table.add_row("frames, plain's", f"{result['frames']}, {result['plain_frames']}")
    table.add_row("tasks, redeliveries", f"{result['tasks']}, {result['redeliveries']}")
    return table


def _telemetry_table(result: dict[str, Any]) -> Table:
    title = f"batches of {result['batch_events']}, {result['cores']} cores, load {result['load_average']}"
    table = Table("way", "events", "queryable/s", "accepted/s", "fresh p50, p99", "CPU seconds", "MiB", title=title)
    for name in ("direct", "gateway", "steady"):
        each = result[name]
        table.add_row(
            name,
            f"{each['events']:,}",
            f"{each['per_second']:,}",
            f"{each['accepted_per_second']:,}",
            f"{each['freshness']['p50_ms']}, {each['freshness']['p99_ms']} ms",
            ", ".join(f"{process} {seconds:.0f}" for process, seconds in each["cpu_seconds"].items()),
            ", ".join(f"{process} {size >> 20}" for process, size in each["rss_bytes"].items()),
        )
    alone = result["chdb"]
    table.add_row(
        "chDB alone", f"{alone['events']:,}", f"{alone['per_second']:,}", "", "", "", f"{alone['rss_peak_bytes'] >> 20}"
    )
    table.add_row("ratio", "", f"{result['ratio']:.2f}", "", "", "", "")
    return table


def _search_table(result: dict[str, Any]) -> Table:
    index, plain = result["index"], result["plain"]
    table = Table(
        title=f"{result['titles']} titles: indexed in {index['seconds']} s, {index['megabytes']} MB, "
        f"{index['rss_megabytes']} MB of memory (plain {plain['index_seconds']} s, {plain['index_megabytes']} MB)"
    )
    ways = list(result["ndcg_at_10"])
    for name in ("", *ways):
        table.add_column(name)
    for kind in result["ndcg_at_10"]["lexical"]:
        table.add_row(f"nDCG@10 {kind}", *(str(result["ndcg_at_10"][way][kind]) for way in ways))
    for name, took in result["latency_ms"].items():
        table.add_row(f"{name} p50/p99 ms", f"{took['p50']}/{took['p99']}")
    return table


def _faults_table(result: dict[str, Any]) -> Table:
    kills = ", ".join(f"{kill['process']} after {kill['after_seconds']:.0f} s" for kill in result["kills"])
    table = Table("table", "events", "views", "watch ms", "stall ms", title=f"killed: {kills}")
    rows = {"sender": result["sender"]["sent"]}
    rows |= {name: result["recount"][name] for name in faults.TABLES}
    for name, each in rows.items():
        table.add_row(name, *(f"{each[figure]:,}" for figure in ("events", "views", "watch_ms", "stall_ms")))
    table.add_row("received", f"{result['recount']['received']:,}", "", "", "")
    for difference in result["differences"]:
        table.add_row("DIFFERS", difference, "", "", "")
    return table


def _recommend_table(result: dict[str, Any]) -> Table:
    gate = result["gate"]["shuffled"]["refused"]
    table = Table("what", "interactions", "recall", "NDCG", "coverage", "bias", "seconds", title=result["data"])
    for each in result["trainings"]:
        for name, score in each["scores"].items():
            figures = (score["recall"], score["ndcg"], score["coverage"], score["popularity_bias"])
            seconds = f"{each['training_seconds']} of {each['trainer_seconds']}" if name == "als" else ""
            table.add_row(name, f"{each['interactions']:,}", *(f"{figure:.4f}" for figure in figures), seconds)
    table.add_row("shuffled", "", f"{result['gate']['shuffled']['recall']:.4f}", gate["reason"] if gate else "passes!")
    for size, each in result.get("vectors", {}).items():
        for name in ("memory", "cassandra"):
            times = f"p50, p99 {each[name]['p50_ms']}, {each[name]['p99_ms']} ms"
            table.add_row(f"{name}, {int(size):,} titles", "", f"{each[name]['recall']:.4f}", "", "", "", times)
    return table


def _choosing_table(result: dict[str, Any]) -> Table:
    table = Table("what", "way", "recall@20", "nDCG@20", "ms")
    for what in ("content", "fusion", "rows"):
        for way, found in result[what].items():
            table.add_row(what, way, f"{found['recall']:.4f}", f"{found['ndcg']:.4f}", f"{found['ms']:.2f}")
    return table


def _discovery_table(result: dict[str, Any]) -> Table:
    title = f"{result['titles']:,} titles, {result['in_flight']} at once, load {result['load_average']}"
    table = Table("what", "per second", "p50", "p99", "CPU seconds", "MB", title=title)
    for name in ("search", "suggest", "browse", "home"):
        each = result.get(name)
        if each:
            cpu = ", ".join(f"{process} {seconds:.0f}" for process, seconds in each["cpu_seconds"].items())
            rss = ", ".join(f"{process} {size}" for process, size in each["rss_mb"].items())
            table.add_row(name, f"{each['per_second']:.0f}", f"{each['p50_ms']} ms", f"{each['p99_ms']} ms", cpu, rss)
    for replica, index in result["index"].items():
        size = f"{index['titles']:,} titles, {index['bytes'] / 1e6:.0f} MB"
        table.add_row(replica, f"{index['records_per_second']:,}", "", "", size, f"built in {index['build_seconds']} s")
    table.add_row("same answers", str(result["same_answers"]), "", "", f"{result['queries']} queries", "")
    return table


def _freshness_table(result: dict[str, Any]) -> Table:
    title = f"{result['edits']} edits, {len(result['kills'])} kills, load {result['load_average']}"
    table = Table("found by", "p50", "p99", "longest", title=title)
    for name, what in (("first", "one answer"), ("all", "every answer")):
        table.add_row(what, *(f"{result[f'{name}_{each}_ms']} ms" for each in ("p50", "p99", "max")))
    table.add_row("failed searches", f"{sum(result['failed_searches'].values())} of {result['searches']}", "", "")
    return table
