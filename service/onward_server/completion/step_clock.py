"""Where a request's time went; it reads no clock itself."""

from dataclasses import dataclass

from onward_server.domain import Timings


@dataclass(slots=True, kw_only=True)
class StepClock:
    """Moments of one request, in seconds on one monotonic clock; None: not reached."""

    arrived_s: float
    admitted_s: float
    prefill_started_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None

    def saw_prefill(self, started_s: float) -> None:
        """The first chunk of the prompt ran in a step that started then."""
        self.prefill_started_s = started_s

    def saw_token(self, ended_s: float) -> None:
        """A token was drawn in a step that ended then."""
        self.first_token_s = self.first_token_s or ended_s
        self.last_token_s = ended_s

    def timings(self, now_s: float) -> Timings:
        """The spans between the moments; what was not reached ends now."""
        prefill_started_s = self.prefill_started_s or now_s
        first_token_s = self.first_token_s or now_s
        return Timings(
            queue_s=max(prefill_started_s - self.admitted_s, 0.0),
            prefill_s=first_token_s - prefill_started_s,
            decode_s=(self.last_token_s or first_token_s) - first_token_s,
            first_token_s=first_token_s - self.arrived_s,
            total_s=now_s - self.arrived_s,
        )
