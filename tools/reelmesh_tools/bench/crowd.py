"""A crowd of viewings, made inside ClickHouse: believable enough that reports over it cost what real ones do.

A viewing is one row of arrivals, as a record of Kafka would be, so its events and its session go the way of real ones.
Its lengths, places and faults follow from the hash of its number: the same crowd comes every time.
"""

from __future__ import annotations

from datetime import datetime

ORGANIZATION = "bench"
VIDEOS = 1000
EVENTS_PER_VIEWING = 62.0
"""Mean, by the lengths that _HEARTBEATS gives."""
BLOCK = 8192
"""Viewings that are made at once."""

_SHAPE = """
INSERT INTO events_arrivals (
    received_time_ms, sent_time_ms, organization, video, session, viewer, country, device, operating_system, browser,
    player, player_version, experiments, weight, source, `events.event_id`, `events.event_time_ms`, `events.sequence`,
    `events.type`, `events.state`, `events.watch_ms`, `events.stall_ms`, `events.stalls`, `events.switches`,
    `events.dropped_frames`, `events.media_bytes`, `events.upscaled_ms`, `events.watch_total_ms`,
    `events.stall_total_ms`, `events.stalls_total`, `events.switches_total`, `events.dropped_frames_total`,
    `events.media_bytes_total`, `events.upscaled_total_ms`, `events.watched_from_ms`, `events.position_ms`,
    `events.bitrate_kbps`, `events.top_bitrate_kbps`, `events.buffer_ms`, `events.throughput_kbps`, `events.height`,
    `events.startup_ms`, `events.playback_rate`, `events.rendition`, `events.cdn`, `events.error_code`,
    kafka_partition, kafka_first
)
WITH
    cityHash64(number, {salt}) AS h,
    (cityHash64(h, 1) % 1000000 + 1) / 1000000 AS chance,
    {start_ms} + toInt64(number * {day_ms} / {viewings}) AS begun,
    -- Of 100: 3 leave before the first frame, 1 fails before it, 1 fails later, 15 are lost sight of, the others end.
    cityHash64(h, 2) % 100 AS fate,
    fate < 4 AS early,
    toInt64(150 + 900 * pow(-log((cityHash64(h, 3) % 1000000 + 1) / 1000000), 1.5)) AS startup,
    if(early, 0, toUInt32(least(1 + 61.5 * -log(chance), 720))) AS beats,
    multiIf(early, 1, fate >= 85, 0, 1) AS ends,
    if(early, 1, 2) AS opening,
    opening + beats + ends AS size,
    range(toUInt32(size)) AS places,
    arrayMap(i -> i >= opening AND i < opening + beats, places) AS beating,
    arrayMap(i -> cityHash64(h, i, 4), places) AS dice,
    -- A rung of the ladder for each two minutes.
    cityHash64(h, 5) % 5 AS rung,
    arrayMap(i -> (rung + if(cityHash64(h, intDiv(i, 12), 6) % 4 = 0, 1, 0)) % 5, places) AS rungs,
    arrayMap((b, d) -> if(b AND d % 50 = 0, 200 + d % 1800, 0), beating, dice) AS stall,
    arrayMap((b, s) -> if(b, 10000 - s, 0), beating, stall) AS watch,
    arrayMap((b, r, i) -> b AND i > opening AND r != rungs[i], beating, rungs, places) AS switched,
    arrayMap(r -> [400, 900, 1800, 3500, 6000][r + 1], rungs) AS bitrate,
    arrayMap((w, k) -> intDiv(w * k, 8), watch, bitrate) AS bytes,
    arrayMap((b, d) -> if(b AND d % 7 = 0, d % 5, 0), beating, dice) AS dropped,
    arrayMap((w, r) -> if(r < 2, w, 0), watch, rungs) AS upscaled,
    arrayCumSum(watch) AS watched,
    arrayMap(i -> begun + if(i = 0, 0, startup + greatest(i - opening + 1, 0) * 10000), places) AS times,
    -- The random part of a UUID of version 7, and the same for each event.
    bitShiftLeft(toUInt128(0x7000 + h % 4096), 64) + bitShiftLeft(toUInt128(2), 62) + bitShiftRight(h, 2) AS mine,
    arrayMap(d -> bitShiftLeft(toUInt128(0x7000 + d % 4096), 64) + bitShiftLeft(toUInt128(2), 62) + bitShiftRight(d, 2),
        dice) AS theirs,
    toUInt32({videos} * pow(cityHash64(h, 7) % 1000000 / 1000000, 3)) AS popular,
    sipHash128(toUInt32(300000 * pow(cityHash64(h, 9) % 1000000 / 1000000, 2))) AS person,
    toUInt32(30 * pow(cityHash64(h, 10) % 1000 / 1000, 2)) AS place
SELECT
    times[1] + 500, times[1] + 400, '{organization}',
    concat('0198c0de-0000-7000-8000-', leftPad(lower(hex(popular)), 12, '0')),
    reverse(reinterpretAsFixedString(bitShiftLeft(toUInt128(begun), 80) + mine)),
    if(cityHash64(h, 8) % 5 = 0, toFixedString('', 16), person),
    ['US', 'IN', 'BR', 'DE', 'GB', 'FR', 'JP', 'MX', 'IT', 'ES', 'KR', 'ID', 'TR', 'PL', 'CA', 'NL', 'AR', 'TH', 'SE',
     'BE', 'AT', 'CH', 'PT', 'GR', 'CZ', 'NO', 'DK', 'FI', 'IE', ''][place + 1],
    ['mobile', 'desktop', 'tv', 'tablet', 'console'][toUInt32(5 * pow(cityHash64(h, 11) % 1000 / 1000, 2)) + 1],
    ['Android', 'iOS', 'Windows', 'macOS', 'Tizen'][cityHash64(h, 12) % 5 + 1],
    ['Chrome', 'Safari', 'Firefox', 'Edge'][cityHash64(h, 13) % 4 + 1],
    'web', ['1.4.0', '1.4.1', '1.5.0', '2.0.0-beta'][toUInt32(4 * pow(cityHash64(h, 14) % 1000 / 1000, 2)) + 1],
    if(cityHash64(h, 15) % 2 = 0, [if(cityHash64(h, 16) % 2 = 0, 'buffer:long', 'buffer:short')], []),
    1, 1,
    arrayMap((t, d) -> reverse(reinterpretAsFixedString(bitShiftLeft(toUInt128(t), 80) + d)), times, theirs),
    times, arrayMap(i -> toInt64(i), places),
    arrayMap((i, b) -> multiIf(
        i = 0, 1, b, 3, i = 1 AND NOT early, 2, fate = 3, 8, fate < 3, 9, fate = 4, 8, 10
    ), places, beating),
    arrayMap((b, i) -> multiIf(i = 0, 1, b OR i = 1, 2, 6), beating, places),
    watch, stall, arrayMap(s -> toInt64(s > 0), stall), arrayMap(s -> toInt64(s), switched), dropped, bytes, upscaled,
    watched, arrayCumSum(stall), arrayCumSum(s -> toInt64(s > 0), stall), arrayCumSum(s -> toInt64(s), switched),
    arrayCumSum(dropped), arrayCumSum(bytes), arrayCumSum(upscaled),
    arrayMap((t, w) -> t - w, watched, watch), watched,
    bitrate, arrayMap(i -> toInt64(6000), places), arrayMap(d -> toInt64(d % 30000), dice),
    arrayMap(d -> toInt64(2000 + d % 20000), dice), arrayMap(r -> [240, 360, 480, 720, 1080][r + 1], rungs),
    arrayMap(i -> if(i = 1 AND NOT early, startup, 0), places), arrayMap(i -> 1., places),
    arrayMap((r, i) -> if(i = 0 OR early, '', ['240p', '360p', '480p', '720p', '1080p'][r + 1]), rungs, places),
    arrayMap(i -> ['', 'north', 'south'][cityHash64(h, 17) % 3 + 1], places),
    arrayMap(i -> if(fate IN (3, 4) AND i = size - 1, '3016', ''), places),
    0, 0
FROM numbers_mt({viewings})
SETTINGS max_block_size = {block}, max_threads = 2, min_insert_block_size_rows = {block},
    min_insert_block_size_rows_for_materialized_views = 600000,
    min_insert_block_size_bytes_for_materialized_views = 1000000000, parallel_view_processing = 1
"""


def statement(day: datetime, viewings: int) -> str:
    """Return the statement that makes the viewings which begin within a day. It holds numbers of ours only."""
    return _SHAPE.format(
        salt=day.toordinal(),
        start_ms=int(day.timestamp() * 1000),
        day_ms=86_400_000,
        viewings=viewings,
        organization=ORGANIZATION,
        videos=VIDEOS,
        block=BLOCK,
    )
