from __future__ import annotations

from datetime import timedelta

import pytest
from billing_fakes import NOW, VIDEO, ManualClock, MemoryUsageStore

from reelmesh.billing.errors import SpanTooLong
from reelmesh.billing.usage import Usage, day_of
from reelmesh.events.v1.media_event_pb2 import JobPlanned, JobSucceeded, MediaEvent, VideoDeleted
from reelmesh.mesh.names import SessionName

JOB = "organizations/acme/jobs/1"
HOUR = timedelta(hours=1)


def planned(length: timedelta) -> MediaEvent:
    event = MediaEvent(video=str(VIDEO), job_planned=JobPlanned(job=JOB))
    event.job_planned.duration.FromTimedelta(length)
    return event


def succeeded() -> MediaEvent:
    event = MediaEvent(video=str(VIDEO), job_succeeded=JobSucceeded(job=JOB))
    event.time.FromDatetime(NOW)
    return event


async def test_events_that_come_again_count_once_and_a_deleted_video_does_not_come_back() -> None:
    usage = Usage(MemoryUsageStore(), ManualClock())
    for event in (planned(HOUR), succeeded(), succeeded()):
        await usage.apply(event)
    days, stored = await usage.list("acme", None, None)
    assert ([(day.start, day.encoded) for day in days], stored) == ([(day_of(NOW), HOUR)], HOUR)
    await usage.apply(MediaEvent(video=str(VIDEO), video_deleted=VideoDeleted()))
    await usage.apply(succeeded())
    days, stored = await usage.list("acme", None, None)
    assert (days[0].encoded, stored) == (HOUR, timedelta())


async def test_of_what_a_session_was_watched_the_most_counts() -> None:
    usage = Usage(MemoryUsageStore(), ManualClock())
    for session, minutes in (("a", 1), ("a", 3), ("a", 2), ("b", 4)):
        await usage.watched(SessionName("acme", session), NOW, timedelta(minutes=minutes))
    (day,), _ = await usage.list("acme", NOW, NOW)
    assert day.delivered == timedelta(minutes=7)
    assert await usage.list("other", NOW, NOW) == ([], timedelta())


async def test_spans_are_limited() -> None:
    usage = Usage(MemoryUsageStore(), ManualClock())
    with pytest.raises(SpanTooLong):
        await usage.list("acme", NOW - timedelta(days=93), NOW)
