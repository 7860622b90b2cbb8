"""Decides how long to wait before a failed request is repeated, and when to give up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onward_server.errors import HubUnreachable

_T = TypeVar("_T")

_LONGEST_WAIT_S = 120.0


@dataclass(slots=True, kw_only=True)
class Retries:
    """Counts the failures since the last success. The first retry is immediate unless the hub asks for a delay."""

    note: Callable[[str], None]
    """Shows the user a sentence before each wait."""
    waits_s: Sequence[float] = (0, 1, 2, 4, 8)
    """How long to wait before each further attempt, if the hub does not say."""
    pause: Callable[[float], None] = time.sleep
    _failures: int = 0

    def succeeded(self) -> None:
        """Resets the count."""
        self._failures = 0

    def until_answered(self, request: Callable[[], _T]) -> _T:
        """Returns the result of `request`, and repeats it while the hub is busy. Retries a lost connection only once.

        Raises:
            HubUnreachable: The last attempt failed, too.
        """
        while True:
            try:
                result = request()
            except HubUnreachable as error:
                if self._failures and not error.is_busy:
                    raise
                self.wait_after(error)
            else:
                self.succeeded()
                return result

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
            raise HubUnreachable(f"{error}; it asks to retry after {wait_s:.0f} s") from None
        self.note(f"{error}; trying again {f'in {wait_s:.0f} s' if wait_s else 'now'}")
        self.pause(wait_s)
