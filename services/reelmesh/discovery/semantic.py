"""What titles are about, as vectors: search by meaning.

The model is one of static word vectors, which the wheel `wordllama` carries (the extra "semantic"): a text is the mean
of its words' vectors, so that a query costs a tenth of a millisecond. Its files are read directly; the package itself
would look for them in the network. The model knows English best: a title's English texts are taken where it has some.

Vectors are kept beside the index, a byte for each number, and all of them are compared with a query's: with so few bits
this takes two milliseconds for 200,000 titles, and leaves nothing out as an approximate index would.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery.localization import localization

SYNOPSIS, LABELS = 0.5, 0.3
"""What a synopsis, and genres and tags, count in what a title means, compared with its name."""
_PACKAGE = "wordllama"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_MATRIX = "embedding.weight"
_BEGINS = "\u2581"
"""Begins the first piece of a word."""
_SCALE = 400
"""A number of a vector of length 1 is kept in so many parts; the few beyond 127 of them are cut off."""
_QUERY_SCALE = 1 << 14
"""The same of a query's vector, of 16 bits: the products of 256 numbers stay within 32."""
_FIRST_ROWS = 1024
SPLINTER = 2.2
"""Letters that a word's pieces have on average at least, where it has several."""

Vectors32 = NDArray[np.float32]


class Model(Protocol):
    """Knows what texts mean. Safe to be used by many threads."""

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""

    def embed(self, texts: Sequence[str]) -> Vectors32:
        """Return a vector of length 1 for each text; zeros for one of which no word is known."""


class WordVectors:
    """The mean of a text's words' vectors."""

    def __init__(self, folder: Path) -> None:
        """Read the files in the folder of the package. Takes a tenth of a second."""
        from safetensors.numpy import load_file  # noqa: PLC0415 — of the extra
        from tokenizers import Tokenizer  # noqa: PLC0415 — of the extra

        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._matrix: NDArray[np.float16] = load_file(str(folder / _WEIGHTS))[_MATRIX]

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self._matrix.shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors32:
        """Return a vector of length 1 for each text."""
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for at, encoded in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            known = _known(encoded)
            if known:
                found[at] = self._matrix[known].mean(axis=0, dtype=np.float32)
        return normal(found)


def _known(encoded: Any) -> list[int]:
    """Return the pieces of the words that mean something: what falls into splinters is none that the model knows."""
    words: list[tuple[list[int], int]] = []
    for piece, text in zip(encoded.ids, encoded.tokens, strict=True):
        letters = len(text.removeprefix(_BEGINS))
        if text.startswith(_BEGINS) or not words:
            words.append(([piece], letters))
        else:
            pieces, before = words[-1]
            words[-1] = ([*pieces, piece], before + letters)
    return [
        piece for pieces, letters in words if len(pieces) == 1 or letters >= SPLINTER * len(pieces) for piece in pieces
    ]


def installed_model() -> WordVectors | None:
    """Return the model that the installation carries; None without the extra."""
    found = [importlib.util.find_spec(each) for each in (_PACKAGE, "tokenizers", "safetensors")]
    package = found[0]
    if None in found or package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent
    return WordVectors(folder) if (folder / _TOKENIZER).exists() and (folder / _WEIGHTS).exists() else None


def vectors_of(titles: Sequence[Title], model: Model) -> Vectors32:
    """Return what titles mean to a model that knows English best: vectors of length 1.

    The name counts most: it is short, and what it says is what the title is about.
    """
    told = [localization(each, "en") for each in titles]
    found = model.embed([each.title for each in told])
    found += SYNOPSIS * model.embed([each.synopsis for each in told])
    found += LABELS * model.embed([" ".join([*each.genres, *each.tags]) for each in titles])
    return normal(found)


def normal(vectors: Vectors32) -> Vectors32:
    """Return vectors made as long as 1; zeros stay."""
    lengths: Vectors32 = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.maximum(lengths, 1e-9)
    return vectors


class VectorStore:
    """Vectors by ordinal, in a file. One thread writes, any number read.

    A row is only read for a title that the index has; so one that is written early, or again after a crash, harms
    nobody.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        from reelmesh.discovery.products import products  # noqa: PLC0415 — compiled when it is loaded

        self._products = products
        self._path = path
        self._dimensions = dimensions
        rows = path.stat().st_size // dimensions if path.exists() else 0
        self._rows = self._open(max(rows, _FIRST_ROWS))

    def put(self, ordinals: Sequence[int], vectors: Vectors32) -> None:
        """Write vectors of length 1."""
        needed = max(ordinals, default=0) + 1
        if needed > len(self._rows):
            self._rows.flush()
            self._rows = self._open(max(needed, 2 * len(self._rows)))
        self._rows[list(ordinals)] = np.clip(np.rint(vectors * _SCALE), -127, 127).astype(np.int8)

    def flush(self) -> None:
        """See to it that what was written lasts."""
        self._rows.flush()

    def cosines(self, vector: Vectors32, size: int) -> Vectors32:
        """Return how alike a vector is to those of the first `size` ordinals, -1 to 1."""
        rows = self._rows[:size]
        found = np.zeros(len(rows), np.int32)
        self._products(rows, np.rint(vector * _QUERY_SCALE).astype(np.int16), found)
        return found.astype(np.float32) / np.float32(_SCALE * _QUERY_SCALE)

    def count(self, size: int) -> int:
        """Return how many of the first `size` ordinals have a vector."""
        return int(np.any(self._rows[:size], axis=1).sum())

    def _open(self, rows: int) -> np.memmap[tuple[int, ...], np.dtype[np.int8]]:
        with self._path.open("ab") as file:
            file.truncate(rows * self._dimensions)
        return np.memmap(self._path, np.int8, "r+", shape=(rows, self._dimensions))
