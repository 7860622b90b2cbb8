"""Renders one Jinja template in a sandbox, with bounds on time and output.

The only importer of jinja2, as a contract in pyproject.toml enforces. Names, filters and white space are those of
Hugging Face's renderer. A template is as trusted as the weights beside it: the bounds stop endless loops and unbounded
growth, but not every way to fill the memory.
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
"""Largest length of the output, and of any string that an operator in the template returns, in characters."""
_MAX_BITS = 2**12
"""Largest size of any integer that an operator in the template returns, in bits."""
_MAX_MESSAGE = 300
"""Largest length of a template's error message; the rest is cut off."""
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
"""Everything that a template can raise, depending on its variables."""


class RenderingFailed(Exception):
    """The template raised an error or was stopped; the message is one line."""


class InvalidTemplate(Exception):
    """The source is not a Jinja template."""


class TemplateEngine:
    """A compiled template."""

    def __init__(self, source: str, *, clock: Clock = datetime.now) -> None:
        """Compiles a source.

        Args:
            source: Jinja text.
            clock: Tells the time that the template's function `strftime_now` formats.

        Raises:
            InvalidTemplate: The source has a syntax error; the message says where.
        """
        self.source = source
        environment = _environment(clock)
        try:
            tree = environment.parse(source)
            self.variables = frozenset(jinja2.meta.find_undeclared_variables(tree))
            """Names of the variables that the template reads."""
            self.literals = "\0".join(_literals(tree))
            """All literal text of the template, its pieces separated by NUL."""
            code = environment.compile(_Bounded().visit(tree))
        except (jinja2.TemplateSyntaxError, RecursionError) as error:
            line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
            raise InvalidTemplate(f"{line}{_one_line(error)}") from error
        self._template = jinja2.Template.from_code(environment, code, environment.make_globals(None))

    def render(self, variables: Mapping[str, object], *, budget_s: float = _BUDGET_S) -> str:
        """Renders the template.

        Args:
            variables: The values that the template reads.
            budget_s: Seconds after which the template is stopped.

        Raises:
            RenderingFailed: The template raised an error, ran too long or wrote too much.
        """
        deadline_s = time.perf_counter() + budget_s

        def tick() -> None:
            if time.perf_counter() > deadline_s:
                raise jinja2.TemplateRuntimeError(f"rendering took longer than {budget_s:g} s")

        pieces: list[str] = []
        num_characters = 0
        try:
            for piece in self._template.generate({**variables, _TICK: tick}):
                tick()
                num_characters += len(piece)
                _check_size(num_characters)
                pieces.append(piece)
        except _RAISED as error:
            raise RenderingFailed(_one_line(error)) from error
        return "".join(pieces)


_TICK, _JOIN = "_onward_tick", "_onward_join"


class _Bounded(jinja2.visitor.NodeTransformer):
    """Makes loops and macros check the time whenever their body runs, and makes `~` check the size of its result."""

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
    """A sandbox that limits the size of the results of `+`, `*` and `**`."""

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
    """Renders `{% generation %}`, which marks assistant text for training, as its body."""

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
    """Converts to JSON like Hugging Face's renderer; Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: object) -> None:
    raise jinja2.TemplateError(str(message))


def _join(*values: object) -> str:
    texts = [str(value) for value in values]
    _check_size(sum(map(len, texts)))
    return "".join(texts)


def _check_size(size: int, limit: int = _MAX_CHARACTERS) -> None:
    if size > limit:
        raise jinja2.TemplateRuntimeError(f"rendering makes a value larger than {limit}")


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


def _literals(tree: nodes.Template) -> list[str]:
    data = [node.data for node in tree.find_all(nodes.TemplateData)]
    return data + [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
