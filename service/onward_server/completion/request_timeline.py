"""The moments at which a request entered each stage, from which its timings are computed."""

from dataclasses import dataclass

from onward_server.domain import Timings


@dataclass(slots=True, kw_only=True)
class RequestTimeline:
    """Moments of one request, in seconds on one monotonic clock; None: not reached yet."""

    arrived_s: float
    admitted_s: float
    prefill_started_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None

    def record_prefill(self, started_s: float) -> None:
        """Records when the step that ran the first chunk of the prompt started."""
        self.prefill_started_s = started_s

    def record_token(self, ended_s: float) -> None:
        """Records when the step that sampled a token ended."""
        self.first_token_s = self.first_token_s or ended_s
        self.last_token_s = ended_s

    def timings(self, now_s: float) -> Timings:
        """Returns the durations between the moments; one that was not reached counts as now."""
        prefill_started_s = self.prefill_started_s or now_s
        first_token_s = self.first_token_s or now_s
        return Timings(
            queue_s=max(prefill_started_s - self.admitted_s, 0.0),
            prefill_s=first_token_s - prefill_started_s,
            decode_s=(self.last_token_s or first_token_s) - first_token_s,
            first_token_s=first_token_s - self.arrived_s,
            total_s=now_s - self.arrived_s,
        )
