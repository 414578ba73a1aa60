"""Discovery on a whole stack: through the gateway, killed, and with its index built anew meanwhile."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.catalog.v1.title_service_pb2 import CreateTitleRequest, DeleteTitleRequest
from reelmesh.discovery.v1.discovery_service_pb2 import SearchRequest, ViewerContext
from reelmesh_tools.client.platform import Platform
from reelmesh_tools.stack.client import Stack

pytestmark = [pytest.mark.stack]

FOUND_SECONDS = 20.0
LEXICAL = SearchRequest.MODE_LEXICAL


@pytest.fixture
def word() -> str:
    """A word that no other test's titles have."""
    return "q" + uuid.uuid4().hex[:12].translate(str.maketrans("0123456789", "ghijklmnop"))


@pytest.fixture
def make(platform: Platform) -> Iterator[Callable[..., Title]]:
    """Make titles of the catalog, which are deleted afterwards."""
    made: list[str] = []

    def create(text: str, territories: tuple[str, ...] = (), audience: str = "AUDIENCE_EVERYONE") -> Title:
        title = Title(kind=Title.KIND_FILM, original_language="en", state=Title.STATE_PUBLISHED)
        title.audience = Title.Audience.Value(audience)
        title.genres.append("drama")
        title.localizations.add(language="en", title=text)
        if territories:
            title.availabilities.add(territories=territories)
        request = CreateTitleRequest(parent=platform.parent, title=title, request_id=str(uuid.uuid4()))
        answer = platform.titles.CreateTitle(request, timeout=20).title
        made.append(answer.name)
        return answer

    yield create
    for name in made:
        platform.titles.DeleteTitle(DeleteTitleRequest(name=name, allow_missing=True), timeout=20)


def found(platform: Platform, query: str, **viewer: Any) -> list[str]:
    # By letters alone: by meaning, made-up words are like many others.
    request = SearchRequest(parent=platform.parent, query=query, viewer=ViewerContext(**viewer), mode=LEXICAL)
    return [hit.title.title for hit in platform.discovery.Search(request, timeout=20).hits]


def until(condition: Callable[[], bool], seconds: float = FOUND_SECONDS) -> float:
    """Wait until a condition holds; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)
    return time.monotonic() - began


def test_what_the_catalog_holds_is_found_and_what_it_deletes_is_not(
    platform: Platform, make: Callable[..., Title], word: str
) -> None:
    title = make(f"The {word}")
    until(lambda: found(platform, word) == [title.name])
    assert found(platform, word[:-2] + word[-1] + word[-2]) == [title.name], "with a slip of the finger"
    platform.titles.DeleteTitle(DeleteTitleRequest(name=title.name), timeout=20)
    until(lambda: found(platform, word) == [])


def test_people_and_places_by_http(platform: Platform, nobody: Platform, make: Callable[..., Title], word: str) -> None:
    everywhere, german = make(f"{word} one"), make(f"{word} two", territories=("DE",))
    inside = make(f"{word} three", audience="AUDIENCE_MEMBERS")
    url = f"{platform.url}/v1/{platform.parent}/titles:search?query={word}&mode=MODE_LEXICAL"

    def names(http: Any, address: str = url, **headers: str) -> set[str]:
        answer = http.get(address, headers=headers)
        assert answer.status_code == 200, answer.text
        return {hit["title"]["title"] for hit in answer.json()["hits"]}

    until(lambda: len(names(platform.signed_http, f"{url}&viewer.territory=DE")) == 3)
    assert names(nobody.http) == {everywhere.name}
    assert names(nobody.http, f"{url}&viewer.territory=DE") == {everywhere.name, german.name}
    assert names(nobody.http, f"{url}&viewer.territory=DE", **{"x-viewer-country": "FR"}) == {everywhere.name}
    assert names(nobody.http, **{"x-viewer-country": "DE"}) == {everywhere.name, german.name}
    assert names(platform.signed_http) == {everywhere.name, inside.name}
    details = nobody.http.get(f"{platform.url}/v1/{inside.name}:details")
    assert (details.status_code, reason(details)) == (404, "TITLE_UNKNOWN")
    page = nobody.http.get(f"{platform.url}/v1/{everywhere.name}:details").json()
    assert page["title"]["displayTitle"] == f"{word} one"
    listed = nobody.http.get(f"{platform.url}/v1/{platform.parent}/titles:suggest?prefix={word[:8]}").json()
    assert everywhere.name in {each["title"]["title"] for each in listed["suggestions"] if each["title"]}


@pytest.mark.parametrize(
    ("path", "reason_"),
    [
        ("search?query=%22open", "QUERY_INVALID"),
        (f"search?query={'x' * 10_000}", "QUERY_TOO_LONG"),
        (f"suggest?prefix={'x' * 10_000}", "QUERY_TOO_LONG"),
        ("search?query=x&facets=colour", "FACET_UNKNOWN"),
        ("browse?facets=colour", "FACET_UNKNOWN"),
        ("browse?page_token=x", "PAGE_TOKEN_INVALID"),
        ("search?query=x&page_size=101", "INVALID_REQUEST"),
        ("search?query=x&viewer.territory=Germany", "INVALID_REQUEST"),
    ],
)
def test_bad_input_has_a_reason(nobody: Platform, path: str, reason_: str) -> None:
    answer = nobody.http.get(f"{nobody.url}/v1/{nobody.parent}/titles:{path}")
    assert (answer.status_code, reason(answer)) == (400, reason_)


def reason(answer: Any) -> str:
    """Return the reason in an error as JSON."""
    return str(next(each["reason"] for each in answer.json()["details"] if "reason" in each))


def test_a_replica_that_is_killed_goes_on_where_it_was(
    stack: Stack, platform: Platform, make: Callable[..., Title], word: str
) -> None:
    before = make(f"{word} before")
    until(lambda: found(platform, word) == [before.name])
    log = stack.layout.log("discovery")
    built = log.read_text(encoding="utf-8").count("an index is built")
    killed = stack.kill_process("discovery")
    meanwhile = make(f"{word} meanwhile")
    stack.wait_healthy("discovery", after=killed)
    assert log.read_text(encoding="utf-8").count("an index is built") == built, "it is not built anew"
    until(lambda: gateway_finds(platform, word, {before.name, meanwhile.name}))


def gateway_finds(platform: Platform, word: str, names: set[str]) -> bool:
    """Say whether titles are found; the gateway may not know yet that the replica is back."""
    url = f"{platform.url}/v1/{platform.parent}/titles:search?query={word}&mode=MODE_LEXICAL"
    answer = platform.signed_http.get(url)
    return answer.status_code == 200 and {hit["title"]["title"] for hit in answer.json()["hits"]} == names


def test_no_search_fails_while_the_index_is_built_anew(
    platform: Platform, make: Callable[..., Title], reelmesh: Callable[..., dict[str, Any]], word: str
) -> None:
    title = make(f"{word} stays")
    until(lambda: found(platform, word) == [title.name])
    stop = Event()

    def ask() -> int:
        answered = 0
        while not stop.is_set():
            assert found(platform, word) == [title.name]
            answered += 1
        return answered

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask) for _ in range(3)]
        try:
            (replica,) = reelmesh("reindex")["replicas"]
        finally:
            stop.set()
        assert all(each.result() > 0 for each in asking)
    assert (replica["state"], replica["build"]["reason"]) == ("STATE_SERVING", "ASKED")
    assert replica["titles"] == replica["build"]["titles"]
    later = make(f"{word} later")
    until(lambda: set(found(platform, word)) == {title.name, later.name})


def test_the_command_line_searches(
    make: Callable[..., Title], reelmesh: Callable[..., dict[str, Any]], platform: Platform, word: str
) -> None:
    title = make(f"The {word}")
    until(lambda: found(platform, word) == [title.name])
    arguments = ("--territory", "DE", "--language", "en", "--facet", "kind", "--filter", "genre=drama,comedy")
    answer = reelmesh("search", word, *arguments, "--mode", "lexical", "--page-size", "5")
    (hit,) = answer["hits"]
    assert hit["title"]["title"] == title.name
    assert answer["facets"][0]["values"] == [{"value": "film", "titles": "1"}]
    assert reelmesh("search", '"open', code=1)["error"]["reason"] == "QUERY_INVALID"
    listed = reelmesh("browse", "--order", "new", "--page-size", "1")
    assert [each["title"] for each in listed["titles"]] == [title.name]
    assert reelmesh("suggest", word[:9])["suggestions"][0]["title"]["title"] == title.name
