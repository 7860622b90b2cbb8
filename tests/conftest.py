"""Settings of generated cases: the same cases in every run, and no time limit for a case."""

import pytest
from hypothesis import settings

settings.register_profile("onward", deadline=None, derandomize=True, database=None)
settings.load_profile("onward")

# Modules of checks that several tests share: a failing assert shows its values.
pytest.register_assert_rewrite("tests.control_tokens", "tests.output_cases", "tests.tokenizer_checks")
