import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def handlers_of_signals() -> Iterator[None]:
    """Restores what signals do: a server that ends ignores them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
