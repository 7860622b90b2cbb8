"""Decides whether and when a call that the server did not accept is tried again.

gRPC can retry by itself, but it stops after five attempts, does not tell how many it made, and reports
DEADLINE_EXCEEDED instead of the reason if the deadline passes while it waits. So the channels of this package have no
retry policy, and each client makes the attempts that the shipped service config describes.
"""

import math
import random
import time
from dataclasses import dataclass
from functools import cache

import grpc

from onward_client.calls import Call
from onward_client.channels import service_config
from onward_client.errors import APIError, DeadlineExceededError, InvalidRequestError, api_error, pushback_s

_REFUSED = "RST_STREAM with error code 7"
"""Part of gRPC's message for a call that the server ignored because the connection has too many open calls."""
_JITTER = 0.2
"""Maximum random change of a backoff, as a fraction of it, in both directions; the same as gRPC's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The retry policy of the service config."""

    max_attempts: int
    initial_backoff_s: float
    max_backoff_s: float
    backoff_multiplier: float
    codes: frozenset[str]
    services: frozenset[str]
    """Full names of the services whose calls are repeated."""

    def backoff_s(self, attempt: int) -> float:
        """Returns the wait after an attempt, counted from 1, without jitter."""
        return min(self.max_backoff_s, self.initial_backoff_s * self.backoff_multiplier ** (attempt - 1))


@cache
def shipped_policy() -> RetryPolicy:
    """Returns the retry policy of the service config that the package ships."""
    (method,) = service_config()["methodConfig"]
    policy = method["retryPolicy"]
    return RetryPolicy(
        max_attempts=policy["maxAttempts"],
        initial_backoff_s=float(policy["initialBackoff"].removesuffix("s")),
        max_backoff_s=float(policy["maxBackoff"].removesuffix("s")),
        backoff_multiplier=policy["backoffMultiplier"],
        codes=frozenset(policy["retryableStatusCodes"]),
        services=frozenset(name["service"] for name in method["name"]),
    )


class Attempts:
    """The attempts of one call.

    Without `max_retries`, a server that says when to come back is asked again until the deadline, and any other at most
    `RetryPolicy.max_attempts` times. Calls of services that the policy does not name are tried once.
    """

    def __init__(self, call: Call, path: str) -> None:
        """Starts the timeout of a call of the RPC with this path."""
        self._call = call
        self._policy = shipped_policy()
        self._deadline_s = time.monotonic() + call.timeout
        self._count = 0
        self._num_backoffs = 0
        self._is_final = path.split("/")[1] not in self._policy.services

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline_s - time.monotonic())

    def begin(self) -> float:
        """Counts an attempt, and returns how many seconds it may take."""
        self._count += 1
        return self.left_s

    def commit(self) -> None:
        """Forbids further attempts, because the caller has seen a part of this one."""
        self._is_final = True

    def wait_after(self, error: grpc.RpcError) -> float:
        """Returns how many seconds to wait before the next attempt.

        Raises:
            APIError: There is no next attempt.
        """
        failure = api_error(error, self._call.request_id, self._count)
        failure.hint = self._call.hint(failure)
        if isinstance(failure, DeadlineExceededError) and not failure.hint:
            failure.hint = f"the timeout for the whole call, with all attempts, is {self._call.timeout:g} s"
        wait_s = self._wait_after(failure)
        if time.monotonic() + wait_s >= self._deadline_s:
            raise failure from error
        return wait_s

    def _wait_after(self, failure: APIError) -> float:
        """Returns the wait; infinity if there is no next attempt."""
        limit = self._call.max_retries
        if self._is_final or not self._may_repeat(failure) or (limit is not None and self._count > limit):
            return math.inf
        if _REFUSED in failure.message:
            return self._policy.initial_backoff_s * random.uniform(0.5, 1.5)  # noqa: S311
        asked_s = pushback_s(failure.rpc_error)
        if asked_s is None:
            asked_s = failure.retry_after  # where a proxy drops the trailer
        if asked_s is not None:
            # After some attempts, a server that asks for an immediate retry gets at least the first backoff.
            is_patient = self._count < self._policy.max_attempts
            return asked_s if is_patient else max(asked_s, self._policy.initial_backoff_s)
        self._num_backoffs += 1
        if limit is None and self._num_backoffs >= self._policy.max_attempts:
            return math.inf
        return self._policy.backoff_s(self._num_backoffs) * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311

    def _may_repeat(self, failure: APIError) -> bool:
        # gRPC itself reports a message over a size limit with the status code of an overload.
        is_too_large = isinstance(failure, InvalidRequestError) or "message larger than max" in failure.message
        return failure.code.name in self._policy.codes and not is_too_large
