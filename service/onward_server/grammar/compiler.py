"""Compiles response formats and offered tools into grammars for the tokens of one model."""

import json
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from onward_server.domain import JsonFormat, ResponseFormat
from onward_server.errors import InvalidReason, InvalidRequest, StartupError
from onward_server.grammar import lark
from onward_server.grammar.call_grammar import OUTPUT, CallGrammar
from onward_server.grammar.compile_errors import reason
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.matcher import REPLAYED_TOKENS, GrammarMatcher
from onward_server.grammar.notation.arguments import json_arguments, notation_arguments
from onward_server.grammar.number_limits import NumberGuard, NumberLimits
from onward_server.grammar.response_formats import Part, Probe, format_part, rejected
from onward_server.grammar.text_prefix import TextPrefix
from onward_server.grammar.tool_calls import ReasoningFrame, ToolCallConstraint
from onward_server.grammar.trial import Trial
from onward_server.panics import panics_raise

_T = TypeVar("_T")

_LIMITS = LLParserLimits(
    max_items_in_row=20_000,
    step_lexer_fuel=2_000_000,
    step_max_items=500_000,
    max_lexer_states=100_000,
    precompute_large_lexemes=False,
    verbose_errors=False,
)
# A caller's grammar may be ambiguous. The time of one step then grows with the square of the items in a row.
_AMBIGUOUS_LIMITS = LLParserLimits(
    max_items_in_row=1000,
    step_lexer_fuel=2_000_000,
    step_max_items=25_000,
    max_lexer_states=100_000,
    verbose_errors=False,
)
_NUM_WORKERS = 2
_STACK_BYTES = 64 * 2**20
_NICENESS = 7
"""How far the priority of the workers is below that of the model's threads, which would otherwise lose a processor to
them while they compile. At 10, the costliest constraints took longer than 3 s on a busy machine."""
_MAX_TEXT_LENGTH = 4_000_000
_MAX_RULES_LENGTH = 250_000
_NUM_FIRST_TOKENS = 2
_MAX_SHOWN = 40
"""Characters of a text that an error shows."""
_PANICKED = "the library that enforces constraints failed on it"
_MAX_PLAIN_LENGTH = 100_000
"""Size of a JSON schema up to which llguidance reports every error before the first token."""
_MAX_PROBES = 200
_NUM_TRIAL_TOKENS = 256
"""Number of trial tokens, divided among the strings with complex patterns of a constraint; each gets 4 to 64."""


@dataclass(slots=True)
class Grammar:
    """The compiled constraint of one request; used by one thread at a time."""

    new: Callable[[], LLMatcher]
    """Makes a native matcher at the start of an output."""
    _ready: list[LLMatcher]
    field: str
    """Path of the constraint in the request."""
    numbers: NumberLimits | None = None
    """The limits of the numbers in JSON; None: the constraint is not JSON."""
    begin: bytes = b""
    """The text that the output continues."""

    def prepare(self) -> None:
        """Creates one more matcher in advance; takes about a millisecond, at worst 0.3 s."""
        self._ready.append(self.new())

    def matcher(self) -> GrammarMatcher:
        """A matcher at the start of an output; takes a prepared one if there is any."""
        if not self._ready:
            self.prepare()
        numbers = None if self.numbers is None else NumberGuard(self.numbers, self.begin)
        return GrammarMatcher(self._ready.pop(), self.new, self.field, numbers)


class GrammarCompiler:
    """Compiles constraints for one tokenizer, on two worker threads.

    Compiling usually takes milliseconds, at worst 3 s. Work that is canceled before it starts is skipped. The futures
    raise InvalidRequest if a constraint does not compile or is too costly.

    The results of trials are cached, but each choice gets its own matcher. Copies of one matcher would share lexer
    states and the limit on them, and the output of one choice would depend on the others.
    """

    def __init__(
        self,
        tokenizer_json: str,
        *,
        vocabulary_size: int,
        eos_token_ids: frozenset[int],
        cache_bytes: int = 4 * 2**20,
    ) -> None:
        """Takes about a second for a vocabulary of 150,000.

        Args:
            tokenizer_json: The text of the tokenizer's file.
            vocabulary_size: The width of the logits; ids beyond the tokenizer are never allowed.
            eos_token_ids: The tokens that end an output; at least one.
            cache_bytes: Approximate size of the cache of grammars that passed the trial; always keeps the last one.

        Raises:
            StartupError: Output cannot be constrained with this tokenizer.
        """
        if not eos_token_ids:
            raise StartupError("output cannot be constrained without an end-of-sequence token")
        try:
            with panics_raise(lambda: ValueError("the library that enforces constraints panicked on it")):
                self._tokenizer = LLTokenizer(tokenizer_json, n_vocab=vocabulary_size, eos_token=sorted(eos_token_ids))
        except ValueError as error:
            raise StartupError(f"output cannot be constrained with this tokenizer: {error}") from error
        self._trial = Trial(self._tokenizer, eos_token_ids)
        self._numbers = NumberLimits(self._tokenizer)
        self._call_grammar = CallGrammar(ControlTokens(self._control_token_ids(tokenizer_json)))
        self._known: OrderedDict[str, None] = OrderedDict()
        self._known_bytes = 0
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._workers = _deep_workers()

    def close(self) -> None:
        """Stops the threads and cancels queued work."""
        self._workers.shutdown(cancel_futures=True)

    def compile(
        self,
        response_format: ResponseFormat,
        reasoning: ReasoningFrame | None = None,
        output_begin: str = "",
    ) -> Future[Grammar]:
        """Compiles the constraint of an output, which comes after the reasoning and the markers `output_begin`."""
        return self._submit("response_format", partial(self._format, response_format, reasoning, output_begin))

    def compile_rest(self, response_format: ResponseFormat, prefix: TextPrefix) -> Future[Grammar]:
        """Compiles the constraint of an output that continues a text."""
        return self._submit("response_format", partial(self._rest, response_format, prefix))

    def compile_tool_calls(self, constraint: ToolCallConstraint) -> Future[Grammar | None]:
        """Compiles the constraint of an output that may call tools; None: nothing is constrained."""
        return self._submit("tools", partial(self._tool_calls, constraint))

    def prepare(self, grammar: Grammar) -> Future[None]:
        """Prepares a grammar for one more choice, as a job of its own, so that other requests compile in between."""
        return self._submit(grammar.field, grammar.prepare)

    def _submit(self, field: str, work: Callable[[], _T]) -> Future[_T]:
        """Runs work on a thread. A panic in it becomes the rejection of the constraint in this field."""

        def run() -> _T:
            with panics_raise(lambda: rejected(field, _PANICKED)):
                return work()

        return self._workers.submit(run)

    def _format(self, response_format: ResponseFormat, reasoning: ReasoningFrame | None, output_begin: str) -> Grammar:
        part = format_part(response_format, OUTPUT)
        is_json = isinstance(response_format, JsonFormat)
        first: list[lark.Grammar] = []
        if reasoning is not None or output_begin:
            first = [self._call_grammar.after_reasoning(reasoning, output_begin, takes_newlines=is_json)]
        return replace(self._compiled(first, [part]), numbers=self._numbers if is_json else None)

    def _rest(self, response_format: ResponseFormat, prefix: TextPrefix) -> Grammar:
        whole = self._format(response_format, None, "")
        text = prefix.spelled_for(response_format)
        token_ids = self._tokenizer.greedy_tokenize(text)  # other than `tokenize_str`, it makes no control tokens
        if self._tokenizer.decode_bytes(token_ids) != text.encode():
            raise InvalidRequest.of(prefix.field, "has characters that the model's vocabulary cannot express")
        matcher = whole.new()
        num_consumed = _consume(matcher, token_ids)
        if num_consumed < len(token_ids) or self._trial.error(matcher, 0):
            begin = self._tokenizer.decode_str(token_ids[:num_consumed])[-_MAX_SHOWN:]
            description = (
                f"is not the start of a text that {whole.field} allows: it deviates after {begin!r}; "
                "change it, or leave out prefix"
            )
            raise InvalidRequest.of(prefix.field, description, InvalidReason.INVALID_MESSAGES)

        def continued() -> LLMatcher:
            matcher = whole.new()
            _consume(matcher, token_ids)
            return matcher

        return Grammar(continued, [matcher], whole.field, whole.numbers, text.encode())

    def _tool_calls(self, constraint: ToolCallConstraint) -> Grammar | None:
        tools = constraint.tools
        is_free = not constraint.is_required and not any(offered.tool.strict for offered in tools)
        if is_free and constraint.response_format is None:
            return None
        optional = frozenset(tool.parameters_field for tool in tools if not tool.tool.strict and constraint.is_required)
        free = frozenset[str]()
        while True:
            try:
                with panics_raise(lambda: rejected("tools", _PANICKED)):
                    return self._calls(constraint, free)
            except InvalidRequest as error:
                if free == optional:
                    raise _with_remedy(error) from error
                # These schemas are enforced where possible. First only the failing one is dropped, then all.
                failed = optional.intersection(violation.field for violation in error.violations)
                free = failed if failed and not free else optional

    def _calls(self, constraint: ToolCallConstraint, free: frozenset[str]) -> Grammar:
        """Compiles tool calls; in the fields `free`, the schema of the arguments is not enforced."""
        keys = None if constraint.response_format is None else constraint.frame.object_keys
        parts = [self._arguments(constraint, keys, index, free) for index in range(len(constraint.tools))]
        if constraint.response_format is not None:
            parts.append(format_part(constraint.response_format, OUTPUT))
        write = self._call_grammar.with_calls if keys is None else self._call_grammar.output_or_call_object
        takes_newlines = isinstance(constraint.response_format, JsonFormat)
        compiled = self._compiled([write(constraint, takes_newlines=takes_newlines)], parts)
        return replace(compiled, numbers=self._numbers)

    def _arguments(
        self, constraint: ToolCallConstraint, keys: tuple[str, str] | None, index: int, free: frozenset[str]
    ) -> Part:
        """The arguments of a tool: what its schema allows, or any object."""
        offered, notation = constraint.tools[index], constraint.frame.notation

        def written(*, is_enforced: bool) -> Part:
            if notation is None:
                return json_arguments(index, offered, keys, is_enforced=is_enforced)
            return notation_arguments(index, offered, notation, self._call_grammar.control, is_enforced=is_enforced)

        if offered.tool.strict:
            return written(is_enforced=True)
        if constraint.is_required and offered.parameters_field not in free:
            with suppress(InvalidRequest):
                return written(is_enforced=True)
        return written(is_enforced=False)

    def _control_token_ids(self, tokenizer_json: str) -> dict[str, int]:
        added_tokens: list[dict[str, Any]] = json.loads(tokenizer_json).get("added_tokens") or []
        ids = {
            str(token["content"]): self._tokenizer.tokenize_str(token["content"], parse_special=True)
            for token in added_tokens
        }
        return {text: one for text, (one, *more) in ids.items() if not more and self._tokenizer.is_special_token(one)}

    def _compiled(self, first: list[lark.Grammar], parts: list[Part]) -> Grammar:
        text = lark.grammar_set(*first, *(part.grammar for part in parts))
        rules_length = sum(len(str(part.grammar.get("lark_grammar", ""))) for part in parts)
        if len(text) > _MAX_TEXT_LENGTH or rules_length > _MAX_RULES_LENGTH:
            raise rejected(
                parts[-1].field if len(parts) == 1 else "tools",
                "is too large to be enforced; use fewer or smaller schemas",
            )
        limits = _AMBIGUOUS_LIMITS if any(part.has_lines for part in parts) else _LIMITS
        matcher = self._matcher(text, limits)
        if not self._is_known(text):
            self._try_out(matcher, text, parts, limits)
            self._remember(text)
        return Grammar(partial(self._matcher, text, limits), [matcher], parts[-1].field)

    def _try_out(self, matcher: LLMatcher, text: str, parts: list[Part], limits: LLParserLimits) -> None:
        """Raises InvalidRequest if nothing matches or a step costs too much; leaves the matcher at its start."""
        is_plain = len(parts) == 1 and "json_schema" in parts[0].grammar and len(text) <= _MAX_PLAIN_LENGTH
        if error := self._trial.error(matcher, 0 if is_plain else _NUM_FIRST_TOKENS):
            raise self._rejection(parts, error, limits)
        probes = [(part, probe) for part in parts for probe in part.probes]
        if len(probes) > _MAX_PROBES:
            description = f"has {len(probes)} strings with complex patterns; at most {_MAX_PROBES} are allowed"
            largest = max(parts, key=lambda part: len(part.probes))
            raise rejected(largest.field if len(largest.probes) > _MAX_PROBES else "tools", description)
        num_tokens = min(64, max(4, _NUM_TRIAL_TOKENS // max(len(probes), 1)))
        for part, probe in probes:
            self._check_probe(part.field, probe, num_tokens)

    def _is_known(self, text: str) -> bool:
        with self._lock:
            if text not in self._known:
                return False
            self._known.move_to_end(text)
            return True

    def _remember(self, text: str) -> None:
        with self._lock:
            self._known_bytes += 0 if text in self._known else len(text)
            self._known[text] = None
            while len(self._known) > 1 and self._known_bytes > self._cache_bytes:
                self._known_bytes -= len(self._known.popitem(last=False)[0])

    def _matcher(self, text: str, limits: LLParserLimits) -> LLMatcher:
        return LLMatcher(self._tokenizer, text, limits=limits, log_level=0)

    def _check_probe(self, field: str, probe: Probe, num_tokens: int) -> None:
        text = lark.grammar_set(probe.grammar)
        if self._is_known(text):
            return
        error = self._trial.error(self._matcher(text, _LIMITS), 0) if probe.must_match else ""
        if error:
            raise rejected(field, f"{probe.description}: {reason(error, has_lines=False)}")
        if self._trial.is_costly(text, num_tokens):
            raise rejected(field, f"{probe.description}: matching it is too costly")
        self._remember(text)

    def _rejection(self, parts: list[Part], error: str, limits: LLParserLimits) -> InvalidRequest:
        """Returns the error of the first part that does not compile on its own, else the error of the whole."""
        for part in parts if len(parts) > 1 else ():
            matcher = self._matcher(lark.grammar_set(part.grammar), limits)
            if own_error := self._trial.error(matcher, _NUM_FIRST_TOKENS):
                return rejected(part.field, reason(own_error, has_lines=part.has_lines))
        return rejected(parts[-1].field, reason(error, has_lines=parts[-1].has_lines))


def _consume(matcher: LLMatcher, token_ids: Sequence[int]) -> int:
    """Feeds the tokens of a given text to a matcher at its start, and returns how many it allows."""
    num_consumed = 0
    for start in range(0, len(token_ids), REPLAYED_TOKENS):
        matcher.compute_bitmask()
        chunk = list(token_ids[start : start + REPLAYED_TOKENS])
        num_consumed += matcher.try_consume_tokens(chunk)
        if num_consumed < start + len(chunk):
            break
    return num_consumed


def _with_remedy(error: InvalidRequest) -> InvalidRequest:
    """Adds what to do about the schema of a strict tool."""
    remedy = "; change the schema, or set strict to false"
    return InvalidRequest(
        [
            replace(violation, description=violation.description + remedy)
            if violation.field.startswith("tools")
            else violation
            for violation in error.violations
        ]
    )


def _deep_workers() -> ThreadPoolExecutor:
    """Threads with stacks of 64 MiB, for deeply nested grammars; only the used part of a stack takes memory."""
    workers = ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="grammar", initializer=_yield_to_the_model)
    all_there = threading.Barrier(_NUM_WORKERS)
    previous = threading.stack_size(_STACK_BYTES)
    try:
        started = [workers.submit(all_there.wait) for _ in range(_NUM_WORKERS)]
    finally:
        threading.stack_size(previous)
    for start in started:
        start.result()
    return workers


def _yield_to_the_model() -> None:
    """Lowers the priority of this thread. Only on Linux: elsewhere, the whole process would be affected."""
    if sys.platform == "linux":
        os.nice(_NICENESS)
