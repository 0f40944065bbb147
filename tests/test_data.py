"""The packaged data set is what its README says."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import lpsim.data
from lpsim.data import load_digits


def test_digits_have_the_documented_shape_type_and_content():
    pixels, labels = load_digits()
    assert (pixels.shape, pixels.dtype) == ((1797, 64), np.float64)
    assert (labels.shape, labels.dtype) == ((1797,), np.int64)
    assert pixels.sum() == 561718
    assert (pixels.min(), pixels.max()) == (0, 16)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_content_has_the_checksum_of_the_readme():
    pixels, labels = load_digits()
    digest = hashlib.sha256(pixels.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes())
    readme = (Path(lpsim.data.__file__).parent / "README.md").read_text()
    assert digest.hexdigest() in readme


def test_each_call_gives_arrays_of_its_own():
    first, _ = load_digits()
    first[:] = -1
    second, _ = load_digits()
    assert second.min() == 0


@pytest.mark.parametrize("words", ["10.24432/C50P49", "Alpaydin", "Kaynak", "CC BY 4.0", "scikit-learn"])
def test_readme_names_source_and_licence(words):
    assert words in (Path(lpsim.data.__file__).parent / "README.md").read_text()
