"""Renders one Jinja chat template in a sandbox, bounded in time and output; it does not know what a message is.

The only importer of jinja2. Names, filters and white space are those of Hugging Face's renderer. A template is as
trusted as the weights beside it: the bounds stop loops and growth, not every trick to fill memory.
"""

import json
import time
from collections.abc import Callable, Mapping, Sized
from datetime import datetime
from typing import Any, cast

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.sandbox
import jinja2.visitor
from jinja2 import nodes
from jinja2.parser import Parser

Clock = Callable[[], datetime]

_BUDGET_S = 5.0
_MAX_CHARACTERS = 2**25
"""Of the output, and of any string that a template makes."""
_MAX_BITS = 2**12
"""Of any integer that a template makes."""
_MAX_MESSAGE = 300
_RAISED = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""All that a template can raise by what it is given."""


class TemplateRefused(Exception):
    """The template raised, or was stopped; the message is its own, in one line."""


class TemplateBroken(Exception):
    """The source is not a template."""


class TemplateEngine:
    """A compiled template."""

    def __init__(self, source: str, *, clock: Clock = datetime.now) -> None:
        """Compiles Jinja text, in which `strftime_now` tells the time of `clock`.

        Raises:
            TemplateBroken: a syntax error, with its line.
        """
        self.source = source
        environment = _environment(clock)
        try:
            tree = environment.parse(source)
            self.variables = frozenset(jinja2.meta.find_undeclared_variables(tree))
            """Names that the template looks up in what it is given."""
            self.literals = "\0".join(_literals(tree))
            """All text that stands in the template, piece by piece."""
            code = environment.compile(_Bounded().visit(tree))
        except (jinja2.TemplateSyntaxError, RecursionError) as error:
            line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
            raise TemplateBroken(f"{line}{_one_line(error)}") from error
        self._template = jinja2.Template.from_code(environment, code, environment.make_globals(None))

    def render(self, variables: Mapping[str, object], *, budget_s: float = _BUDGET_S) -> str:
        """The text for these variables.

        Raises:
            TemplateRefused: the template raised, ran too long or wrote too much.
        """
        deadline_s = time.perf_counter() + budget_s

        def tick() -> None:
            if time.perf_counter() > deadline_s:
                raise jinja2.TemplateRuntimeError(f"it took longer than {budget_s:g} s")

        pieces: list[str] = []
        num_characters = 0
        try:
            for piece in self._template.generate({**variables, _TICK: tick}):
                tick()
                num_characters += len(piece)
                _check_size(num_characters)
                pieces.append(piece)
        except _RAISED as error:
            raise TemplateRefused(_one_line(error)) from error
        return "".join(pieces)


_TICK, _JOIN = "_onward_tick", "_onward_join"


class _Bounded(jinja2.visitor.NodeTransformer):
    """Makes every turn of a loop and every call of a macro look at the clock, and `~` at the size of its result."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (named by jinja2)
        return self._with_tick(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._with_tick(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call(_JOIN, node.nodes, node.lineno)

    def _with_tick(self, node: nodes.For | nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call(_TICK, [], node.lineno), lineno=node.lineno))
        return node


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox whose operators make nothing huge."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 (jinja2's own)
        lengths = [len(value) for value in (left, right) if isinstance(value, Sized)]
        integers = [value for value in (left, right) if isinstance(value, int)]
        if operator == "+":
            _check_size(sum(lengths))
        elif lengths and integers:
            _check_size(lengths[0] * integers[0])
        elif operator == "*":
            _check_size(sum(integer.bit_length() for integer in integers), _MAX_BITS)
        elif len(integers) == 2:
            _check_size(left.bit_length() * right, _MAX_BITS)
        return super().call_binop(context, operator, left, right)


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks what the model wrote, for training; it renders as its body."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment(clock: Clock) -> jinja2.Environment:
    def strftime_now(form: str) -> str:
        return clock().strftime(form)

    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = _to_json
    functions = cast(dict[str, Callable[..., object]], environment.globals)
    functions["raise_exception"] = _raise
    functions["strftime_now"] = strftime_now
    functions[_JOIN] = _join
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """As json.dumps: Jinja's own escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: object) -> None:
    raise jinja2.TemplateError(str(message))


def _join(*values: object) -> str:
    texts = [str(value) for value in values]
    _check_size(sum(map(len, texts)))
    return "".join(texts)


def _check_size(size: int, limit: int = _MAX_CHARACTERS) -> None:
    if size > limit:
        raise jinja2.TemplateRuntimeError(f"it makes something larger than {limit}")


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


def _literals(tree: nodes.Template) -> list[str]:
    data = [node.data for node in tree.find_all(nodes.TemplateData)]
    return data + [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
