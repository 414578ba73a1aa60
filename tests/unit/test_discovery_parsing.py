"""How queries are taken apart, and what is said of wrong ones."""

from __future__ import annotations

import time

import pytest

from reelmesh.discovery.errors import QueryInvalid, QueryTooLong
from reelmesh.discovery.parsing import MAX_WORDS, Sign, parse


def test_words_are_wanted_and_the_last_may_be_a_beginning() -> None:
    parsed = parse("Star Wa")
    assert [(each.words[0].text, each.prefix, each.sign) for each in parsed.clauses] == [
        ("star", False, Sign.WANTED),
        ("wa", True, Sign.WANTED),
    ]
    assert parsed.text == "star wa"
    assert not parse("star wars ").clauses[-1].prefix


def test_phrases_fields_and_signs() -> None:
    phrase, person, genre, year, without = parse(
        '"star wars" person:fisher genre:"science fiction" year:1977-1979 -clone'
    ).clauses
    assert phrase.phrase
    assert [each.text for each in phrase.words] == ["star", "wars"]
    assert (person.field, person.words[0].text) == ("person", "fisher")
    assert [each.text for each in genre.words] == ["science", "fiction"]
    assert year.values == ("1977", "1978", "1979")
    assert without.sign is Sign.EXCLUDED
    assert not parse("person:fisher").text


@pytest.mark.parametrize("text", ["Mission: Impossible", "spider-man", "Dune - Part Two", "2001: A", "AC/DC", "a--b"])
def test_punctuation_means_nothing(text: str) -> None:
    parsed = parse(text)
    assert parsed.plain
    assert all(not each.values and len(each.words) == 1 for each in parsed.clauses)


def test_pairs_of_characters_belong_together() -> None:
    (clause,) = parse("千と千尋").clauses
    assert [each.text for each in clause.words] == ["千と", "と千", "千尋"]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('star "wars', 5),
        ("director:nolan", 0),
        ("star person:", 12),
        ("year:19x4", 5),
        ("year:2000-1990", 5),
        ("year:1000-1999", 5),
        ("kind:movie", 5),
        ("  ???", 2),
        ("-star", 0),
        ('star ""', 6),
        ("word " * 30, 5 * MAX_WORDS),
    ],
)
def test_faults_are_told_where_they_are(text: str, position: int) -> None:
    with pytest.raises(QueryInvalid) as raised:
        parse(text)
    assert raised.value.position == position
    assert raised.value.metadata == {"position": str(position)}


def test_a_long_query_costs_nothing() -> None:
    began = time.perf_counter()
    for text in ("a " * 5000, '"' * 10_000, "x" * 10_000, "person:" * 2000):
        with pytest.raises(QueryTooLong):
            parse(text)
    assert time.perf_counter() - began < 0.05


def test_an_empty_query_means_everything() -> None:
    assert parse("").clauses == ()
    assert parse("   ").clauses == ()
