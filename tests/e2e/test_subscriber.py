"""The story of a subscriber: signs up, meets the paywall, pays, watches a protected film; and what is refused."""

from __future__ import annotations

import base64
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from browser_pages import PATIENCE, Visitor, WatchPage, gray, launched, no_complaints
from confluent_kafka import Consumer, TopicPartition
from e2e_world import eventually, refused
from playwright.sync_api import Browser, Page, expect
from rpc_world import channel

from reelmesh.drm.v1.key_service_pb2 import GetContentKeysRequest
from reelmesh.drm.v1.key_service_pb2_grpc import KeyServiceStub
from reelmesh.identity.v1.account_service_pb2 import RegisterRequest
from reelmesh.mesh.config import Config
from reelmesh.playback.v1 import playback_service_pb2 as pb
from reelmesh.playback.v1.session_pb2 import PlaybackSession
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]

PASSWORD = "correct horse battery staple"  # noqa: S105 - of a comic
ORGANIZATION = "organizations/default"
SECONDS, RATE = 16, 25
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def plan(reelmesh: Run) -> str:
    """A plan that lets one watch in two places at once."""
    name = f"gold-{uuid.uuid4().hex[:8]}"
    reelmesh("plans", name, "--amount", "999", "--plan", name, "--title", "Gold")
    reelmesh("policies", name, "--kind", "subscription", "--plan", name, "--price", name, "--streams", "2")
    return name


@pytest.fixture(scope="module")
def film(plan: str, reelmesh: Run, clip: Callable[..., Path]) -> str:
    """A protected film that the plan opens."""
    video = str(reelmesh("upload", str(clip(SECONDS, 854, 480, RATE)), "--protection", "drm")["video"])
    reelmesh("policies", plan, "--video", video.rsplit("/", 1)[-1])
    return video


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@pytest.fixture
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=stack.plan.gateway_url)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def someone() -> str:
    return f"{uuid.uuid4()}@example.com"


def subscribe(page: Page) -> None:
    """Pay at the paywall with a test card, and go back to the film."""
    expect(page.get_by_role("heading", name="Subscribe to watch")).to_contain_text("SUBSCRIPTION_REQUIRED")
    page.get_by_role("button", name="Subscribe").click()
    page.get_by_label("Card number").fill("4242 4242 4242 4242")
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("main").get_by_role("status")).to_contain_text("Thank you")
    page.get_by_role("link", name="Go on").click()


@pytest.mark.browser
def test_a_subscriber_pays_and_watches_to_the_end(page: Page, film: str) -> None:
    with no_complaints(page, excused="403"):
        Visitor(page).sign_up(someone(), PASSWORD)
        watching = WatchPage.open(page, film, "hls")
        subscribe(page)
        for format_ in ("hls", "dash"):
            watching = WatchPage.open(page, film, format_)
            watching.wait_playing(beyond=0.5)
            watching.assert_picture()
            assert watching.read("player.drmInfo().keySystem") == "org.w3.clearkey"
            assert watching.read("player.drmInfo().encryptionScheme") == "cbcs"
            watching.seek(0)
            watching.fast(2)
            watching.wait_ended(SECONDS)
            assert not watching.events("error")


@pytest.mark.browser
def test_without_a_subscription_the_page_says_why(page: Page, film: str) -> None:
    for sign_up in (False, True):
        if sign_up:
            Visitor(page).sign_up(someone(), PASSWORD)
        watching = WatchPage.open(page, film, "hls")
        reason = "SUBSCRIPTION_REQUIRED" if sign_up else "SIGN_IN_REQUIRED"
        expect(page.get_by_role("heading", level=2)).to_contain_text(reason)
        assert not watching.read("player")
        if (picture := page.locator("video")).is_visible():
            seen = Counter(gray(picture))
            assert seen.most_common(1)[0][1] > 0.98 * seen.total(), "something was shown"


@pytest.mark.browser
def test_a_subscription_that_is_taken_away_ends_the_viewing(page: Page, film: str, plan: str, reelmesh: Run) -> None:
    Visitor(page).sign_up(someone(), PASSWORD)
    user = json.loads(page.evaluate("localStorage.getItem('account')"))["user"]
    (given,) = reelmesh("grant", user, "--plan", plan)["grants"]
    watching = WatchPage.open(page, film, "dash")
    watching.wait_playing(beyond=0.5)
    watching.read("void video.pause()")
    reelmesh("grant", user, "--revoke", given["name"])
    expect(page.get_by_role("heading", level=2)).to_contain_text("SUBSCRIPTION_REQUIRED", timeout=PATIENCE)


@pytest.mark.browser
def test_keys_are_wrapped_anew_while_someone_watches(page: Page, film: str, plan: str, reelmesh: Run) -> None:
    Visitor(page).sign_up(someone(), PASSWORD)
    user = json.loads(page.evaluate("localStorage.getItem('account')"))["user"]
    reelmesh("grant", user, "--plan", plan)
    watching = WatchPage.open(page, film, "hls")
    watching.wait_playing(beyond=0.5)
    reelmesh("keys", "rotate")
    watching.fast(2)
    watching.wait_ended(SECONDS)
    assert not watching.events("error")
    again = WatchPage.open(page, film, "dash")
    again.wait_playing(beyond=0.5)


class Viewer:
    """Someone who has subscribed, by the contracts alone."""

    def __init__(self, platform: Platform, plan: str, reelmesh: Run) -> None:
        request = RegisterRequest(email=someone(), password=PASSWORD, organization=ORGANIZATION)
        answer = platform.accounts.Register(request)
        self._playback = platform.playback
        self._signed = (("authorization", f"Bearer {answer.tokens.access_token}"),)
        reelmesh("grant", answer.user.name, "--plan", plan)

    def start(self, video: str, *, take_over: bool = False) -> PlaybackSession:
        request = pb.CreatePlaybackSessionRequest(
            parent=ORGANIZATION, session=PlaybackSession(video=video), take_over=take_over
        )
        return self._playback.CreatePlaybackSession(request, metadata=self._signed).session

    def keep(self, session: PlaybackSession) -> PlaybackSession:
        request = pb.KeepPlaybackSessionRequest(name=session.name)
        return self._playback.KeepPlaybackSession(request, metadata=self._signed).session


def test_two_streams_are_two(nobody: Platform, film: str, plan: str, reelmesh: Run) -> None:
    viewer = Viewer(nobody, plan, reelmesh)
    first, second = viewer.start(film), viewer.start(film)
    third = refused(lambda: viewer.start(film))
    assert (third.code, third.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAM_LIMIT")
    assert viewer.keep(first).license_servers
    taking = viewer.start(film, take_over=True)
    assert refused(lambda: viewer.keep(first)).reason == "STREAM_TAKEN_OVER"
    viewer.keep(second)
    viewer.keep(taking)
    # Both players crash now: nobody keeps their places, and after a while they are free.
    patience = second.keep_interval.ToTimedelta().total_seconds() * 2 + 30

    def started() -> PlaybackSession | None:
        try:
            return viewer.start(film)
        except grpc.RpcError:
            return None

    assert started() is None
    eventually(started, "the place of a player that crashed", patience)


def test_no_log_and_no_topic_tells_a_key(stack: Stack, config: Config, film: str) -> None:
    with channel(stack, "drm", stack.layout.certificates, "worker") as opened:
        keys = KeyServiceStub(opened).GetContentKeys(GetContentKeysRequest(video=film)).keys
    assert {key.label for key in keys} == {"AUDIO", "SD"}
    forms = [form for key in keys for form in written(key.value)]
    logs = list(stack.layout.logs.iterdir())
    told = [(file.name, form) for file in logs for form in forms if form in file.read_bytes().lower()]
    records = list(every_record(config.kafka.bootstrap_servers))
    told += [(topic, form) for topic, record in records for form in forms if form in record.lower()]
    topics = {topic for topic, _ in records}
    print({"keys": len(keys), "logs": len(logs), "topics": len(topics), "records": len(records), "found": len(told)})  # noqa: T201
    assert {"reelmesh.drm.decisions", "reelmesh.transcode.tasks", "reelmesh.media.events"} <= topics
    # What is public is found, or the search would prove nothing.
    public = [form for key in keys for form in written(key.key_id)]
    assert any(form in record.lower() for form in public for _, record in records)
    assert not told


def written(value: bytes) -> list[bytes]:
    """Return the ways in which 16 bytes are written, in lower case."""
    encoded = [encode(value).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    texts = [value.hex(), str(uuid.UUID(bytes=value)), *encoded]
    return [value.lower(), *(text.lower().encode() for text in texts)]


def every_record(servers: str) -> Iterator[tuple[str, bytes]]:
    """Yield topic and bytes of every record that Kafka holds."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": f"grep-{uuid.uuid4()}", "enable.auto.commit": False})
    try:
        for topic, found in consumer.list_topics(timeout=20).topics.items():
            for partition in [] if topic.startswith("__") else found.partitions:
                place = TopicPartition(topic, partition)
                low, high = consumer.get_watermark_offsets(place, timeout=20)
                place.offset = low
                consumer.assign([place])
                position = low
                while position < high:
                    message = consumer.poll(20)
                    assert message is not None, f"{topic}/{partition} stops at {position} of {high}"
                    yield topic, (message.key() or b"") + (message.value() or b"") + repr(message.headers()).encode()
                    position = (message.offset() or 0) + 1
    finally:
        consumer.close()
