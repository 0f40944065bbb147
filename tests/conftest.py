"""Settings for all tests."""

from collections.abc import Iterator

import numba
import pytest
from hypothesis import Phase, settings

from lpsim import parts

# The first call of a kernel compiles it, which no deadline should see.
settings.register_profile("lpsim", deadline=None)
# For tools/mutation_check.py, which asks only whether something fails, and the same way each time.
settings.register_profile("first-failure", deadline=None, database=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile("lpsim")


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Run with so many threads, and split even small work among them."""
    before = numba.get_num_threads()
    if request.param > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("needs two threads")
    monkeypatch.setattr(parts, "_GRAIN", 1)
    numba.set_num_threads(request.param)
    yield request.param
    numba.set_num_threads(before)
