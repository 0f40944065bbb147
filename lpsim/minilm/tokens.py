"""WordPiece tokens of uncased BERT models."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

__all__ = ["WordPiece"]

#: Longer words are unknown.
_LONGEST = 100


class WordPiece:
    """The tokens of a vocabulary: the longest pieces that words begin with, then go on with.

    Parameters
    ----------
    vocabulary : list of str
        Pieces by number; those that go on within a word begin with ``##``.

    Notes
    -----
    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019, arXiv:1810.04805, and
    the tokenisation of its uncased models: lower case, no accents, punctuation as words of its own.

    Examples
    --------
    >>> from lpsim.minilm import WordPiece
    >>> tokens = WordPiece(["[UNK]", "[CLS]", "[SEP]", "float", "##ing", "point", "!"])
    >>> tokens.encode("Floating point!")
    [1, 3, 4, 5, 6, 2]
    """

    def __init__(self, vocabulary: list[str]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        missing = [piece for piece in ("[UNK]", "[CLS]", "[SEP]") if piece not in self._numbers]
        if missing:
            raise ValueError(f"vocabulary lacks {missing[0]}; allowed: that of a BERT model")

    @classmethod
    def read(cls, path: Path) -> WordPiece:
        """Read a file with a piece on each line."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens, from ``[CLS]`` to ``[SEP]``."""
        pieces = [number for word in _words(text) for number in self._pieces(word)]
        return [self._numbers["[CLS]"], *pieces, self._numbers["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._numbers), None)
            if end is None or len(word) > _LONGEST:
                return [self._numbers["[UNK]"]]
            pieces.append(self._numbers[prefix + word[start:end]])
            start = end
        return pieces


def _words(text: str) -> Iterator[str]:
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    for chunk in plain.split():
        word = ""
        for character in chunk:
            if character.isalnum():
                word += character
                continue
            if word:
                yield word
            yield character
            word = ""
        if word:
            yield word
