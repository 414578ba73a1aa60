"""How texts are cut into words, folded and stemmed."""

from __future__ import annotations

import random
import unicodedata

import pytest

from reelmesh.discovery import analysis
from reelmesh.discovery.misspelling import alike


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Matrix", ["the", "matrix"]),
        ("L'Été de l'Ocean's Eleven", ["l", "ete", "de", "l", "oceans", "eleven"]),
        ("Don\u2019t Look Now", ["dont", "look", "now"]),
        ("Straße nach Łódź, Ærø", ["strasse", "nach", "lodz", "aero"]),
        ("Ёлки: й", ["елки", "и"]),
        ("Οδύσσεια", ["οδυσσεια"]),
        ("千と千尋の神隠し", ["千と", "と千", "千尋", "尋の", "の神", "神隠", "隠し"]),
        ("ガラス", ["ガラ", "ラス"]),
        ("기생충", ["기생", "생충"]),
        ("हिन्दी फ़िल्म", ["हिन्दी", "फ़िल्म"]),
        ("Spider-Man", ["spider", "man"]),
        ("?!… —", []),
        ("", []),
    ],
)
def test_words_are_folded(text: str, words: list[str]) -> None:
    normal = [unicodedata.normalize("NFC", each) for each in analysis.words(text)]
    assert normal == [unicodedata.normalize("NFC", each) for each in words]


def test_a_text_taken_apart_by_unicode_has_the_same_words() -> None:
    for text in ("Été à Göteborg", "Łódź", "ガラスの城", "Ёлки"):
        assert analysis.words(unicodedata.normalize("NFD", text)) == analysis.words(text)


def test_stems_are_those_of_the_language() -> None:
    assert analysis.stems("Die Häuser", "de") == ["die", "haus"]
    assert analysis.stem("hauser", "de") == analysis.stem("häuser", "de") == "haus"
    assert analysis.stems("running dogs", "en-GB") == ["run", "dog"]
    assert analysis.stem("дома", "ru") == analysis.stem("домов", "ru")
    assert analysis.stem("häuser", "xx") == "hauser"


def test_tokens_say_where_they_stand_in_code_points() -> None:
    text = "Été 🎬 千と千尋 HÄUSER don't"
    assert [(text[each.start : each.end], each.text) for each in analysis.tokens(text)] == [
        ("Été", "ete"),
        ("千と", "千と"),
        ("と千", "と千"),
        ("千尋", "千尋"),
        ("HÄUSER", "hauser"),
        ("don't", "dont"),
    ]


def test_articles_are_small() -> None:
    assert analysis.is_small("der", frozenset({"de"}))
    assert not analysis.is_small("der", frozenset({"en"}))
    assert not analysis.is_small("haus", frozenset({"de", "en", "fr"}))


def test_a_word_is_like_another_as_far_as_letters_are_wrong() -> None:
    assert alike("matirx", "matrix", 1, prefix=False)
    assert alike("matrx", "matrix", 1, prefix=False)
    assert alike("matrixx", "matrix", 1, prefix=False)
    assert not alike("matixx", "matrix", 1, prefix=False) or alike("matixx", "matrix", 2, prefix=False)
    assert not alike("mtarxi", "matrix", 1, prefix=False)
    assert alike("interst", "interstellar", 0, prefix=True)
    assert alike("intrest", "interstellar", 2, prefix=True)
    assert not alike("interst", "interstellar", 2, prefix=False)


def test_likeness_is_the_least_number_of_changes() -> None:
    def distance(left: str, right: str) -> int:
        rows = [[max(a, b) if not min(a, b) else 0 for b in range(len(right) + 1)] for a in range(len(left) + 1)]
        for a in range(1, len(left) + 1):
            for b in range(1, len(right) + 1):
                same = left[a - 1] != right[b - 1]
                rows[a][b] = min(rows[a - 1][b] + 1, rows[a][b - 1] + 1, rows[a - 1][b - 1] + same)
                if a > 1 and b > 1 and left[a - 1] == right[b - 2] and left[a - 2] == right[b - 1]:
                    rows[a][b] = min(rows[a][b], rows[a - 2][b - 2] + 1)
        return rows[-1][-1]

    rng = random.Random(5)  # noqa: S311 - the same words again
    for _ in range(2000):
        left = "".join(rng.choice("abc") for _ in range(rng.randint(1, 7)))
        right = "".join(rng.choice("abc") for _ in range(rng.randint(1, 7)))
        for most in (0, 1, 2):
            assert alike(left, right, most, prefix=False) == (distance(left, right) <= most)
            begins = min(distance(left, right[:end]) for end in range(len(right) + 1)) <= most
            assert alike(left, right, most, prefix=True) == begins
