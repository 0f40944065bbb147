"""Settings for all tests."""

from hypothesis import Phase, settings

# The first call of a kernel compiles it, which no deadline should see.
settings.register_profile("lpsim", deadline=None)
# For tools/mutation_check.py, which asks only whether something fails, and the same way each time.
settings.register_profile("first-failure", deadline=None, database=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile("lpsim")
