"""Decides how long to wait before the hub is asked again, and when to stop asking."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onward_server.errors import HubUnreachable

_T = TypeVar("_T")

_LONGEST_WAIT_S = 120.0


@dataclass(slots=True, kw_only=True)
class Retries:
    """Counts the failures since the last success. The first attempt after a lost connection is made at once."""

    note: Callable[[str], None]
    """Tells the user why nothing happens."""
    waits_s: Sequence[float] = (0, 1, 2, 4, 8)
    """How long to wait before each further attempt, if the hub does not say."""
    pause: Callable[[float], None] = time.sleep
    _failures: int = 0

    def succeeded(self) -> None:
        """Starts to count again."""
        self._failures = 0

    def until_answered(self, ask: Callable[[], _T]) -> _T:
        """Returns what `ask` returns. Without an answer, asks once more only: there may be no network.

        Raises:
            HubUnreachable: No attempt was answered.
        """
        while True:
            try:
                answer = ask()
            except HubUnreachable as error:
                if self._failures and not error.is_busy:
                    raise
                self.wait_after(error)
            else:
                self.succeeded()
                return answer

    def wait_after(self, error: HubUnreachable) -> None:
        """Waits as long as the hub asks for, or else longer than the last time.

        Raises:
            HubUnreachable: It was the last attempt, or the hub asks for more than two minutes.
        """
        if self._failures == len(self.waits_s):
            raise error
        wait_s = error.retry_after_s if error.retry_after_s is not None else self.waits_s[self._failures]
        self._failures += 1
        if wait_s > _LONGEST_WAIT_S:
            raise HubUnreachable(f"{error}; it asks to come back in {wait_s:.0f} s") from None
        self.note(f"{error}; trying again {f'in {wait_s:.0f} s' if wait_s else 'now'}")
        self.pause(wait_s)
