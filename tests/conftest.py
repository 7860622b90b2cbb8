"""How tests run: generated cases are the same in every run, and none is failed for being slow."""

from hypothesis import settings

settings.register_profile("onward", deadline=None, derandomize=True, database=None)
settings.load_profile("onward")
