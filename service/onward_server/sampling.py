"""The sampling parameters, each declared once: the fields of `SamplingParams`, with their rules in the annotations.

A new parameter is one field in `proto/onward/v1/sampling.proto`, one of the same name here, and its effect in
`engine/sampler.py`. Decoding, encoding, defaults, range checks and the flag of `onward complete` follow from these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import MaxLen

_RuleT = TypeVar("_RuleT")


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`, with no upper bound where `high` is infinite."""

    low: float
    high: float = math.inf
    excludes_low: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number is in the range; NaN and infinity never are."""
        is_above = self.low < value if self.excludes_low else self.low <= value
        return is_above and value <= self.high and value < math.inf

    def __str__(self) -> str:
        """The range in mathematical notation, such as `(0, 1]`."""
        return f"{'(' if self.excludes_low else '['}{self.low}, {self.high}{']' if math.isfinite(self.high) else ')'}"


@dataclass(frozen=True, slots=True)
class GenerationConfigKey:
    """Where `generation_config.json` of a model holds its default for a parameter."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Resolved sampling parameters of a sequence. A default is the value that changes nothing."""

    temperature: Annotated[float, Range(0, 2), GenerationConfigKey("temperature")] = 1.0
    top_p: Annotated[float, Range(0, 1, excludes_low=True), GenerationConfigKey("top_p")] = 1.0
    top_k: Annotated[int, Range(0), GenerationConfigKey("top_k")] = 0
    min_p: Annotated[float, Range(0, 1), GenerationConfigKey("min_p")] = 0.0
    frequency_penalty: Annotated[float, Range(-2, 2)] = 0.0
    presence_penalty: Annotated[float, Range(-2, 2)] = 0.0
    repetition_penalty: Annotated[float, Range(0, 2, excludes_low=True), GenerationConfigKey("repetition_penalty")] = (
        1.0
    )
    max_tokens: Annotated[int, Range(1), GenerationConfigKey("max_new_tokens")]
    min_tokens: Annotated[int, Range(0)] = 0
    stop: Annotated[tuple[str, ...], MaxLen(16)] = ()
    stop_token_ids: Annotated[tuple[int, ...], MaxLen(64)] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    logit_bias: Annotated[tuple[tuple[int, float], ...], MaxLen(1024)] = ()
    """Pairs of token id and bias, sorted by id."""
    seed: int

    def values(self) -> "SamplingOverrides":
        """Every parameter by name."""
        return {name: getattr(self, name) for name in PARAMETERS}


SamplingValue = float | tuple[str, ...] | tuple[int, ...] | tuple[tuple[int, float], ...]
SamplingOverrides = Mapping[str, SamplingValue]
"""The parameters that a request or a model sets, by name; the others are unset."""


def override(params: SamplingParams, *overrides: SamplingOverrides) -> SamplingParams:
    """The parameters with the overrides applied in order: a later one wins."""
    for values in overrides:
        params = replace(params, **values)
    return params


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """The rules of one field of `SamplingParams`, read from its annotation."""

    value_type: Any
    """Type of the value: `float`, `int`, `bool`, or a tuple type such as `tuple[str, ...]`."""
    range: Range | None
    max_items: int | None
    generation_config_key: str | None


def _parameter(annotation: Any) -> Parameter:  # noqa: ANN401  a type, as `typing` gives it
    value_type, *rules = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    max_len = _rule(rules, MaxLen)
    config_key = _rule(rules, GenerationConfigKey)
    return Parameter(
        value_type=value_type,
        range=_rule(rules, Range),
        max_items=max_len.max_length if max_len else None,
        generation_config_key=config_key.key if config_key else None,
    )


def _rule(rules: list[Any], kind: type[_RuleT]) -> _RuleT | None:
    return next((rule for rule in rules if isinstance(rule, kind)), None)


PARAMETERS: Mapping[str, Parameter] = {
    name: _parameter(annotation) for name, annotation in get_type_hints(SamplingParams, include_extras=True).items()
}
"""Every parameter by name, in the order of the protocol."""
