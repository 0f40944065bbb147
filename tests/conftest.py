"""Settings for all tests."""

from hypothesis import settings

# The first call of a kernel compiles it, which no deadline should see.
settings.register_profile("lpsim", deadline=None)
settings.load_profile("lpsim")
