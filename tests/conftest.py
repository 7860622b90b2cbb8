"""Settings of generated cases: the same cases in every run, and no time limit for a case."""

from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("onward", deadline=None, derandomize=True, database=None)
settings.load_profile("onward")

# Modules of checks that several tests share: a failing assert shows its values.
pytest.register_assert_rewrite("tests.control_tokens", "tests.output_cases", "tests.tokenizer_checks")


@pytest.fixture(autouse=True, scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Keeps servers from the cache folder of the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
