"""Renders one Jinja template in a sandbox, with bounds on time and output.

The only importer of jinja2, as a contract in pyproject.toml enforces. Names, filters and white space are those of
Hugging Face's renderer, without the filters `pprint`, `urlize` and `xmlattr` and the function `lipsum`, which no chat
needs. `template_budget` bounds every operation that makes a value.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sized
from datetime import datetime
from functools import wraps
from typing import Any, cast

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.sandbox
import jinja2.visitor
from jinja2 import nodes
from jinja2.parser import Parser

from onward_server.completion.prompt.template_budget import Budget, BudgetExceeded, current, spending
from onward_server.completion.prompt.template_rules import ITERATING_FILTERS, allow_call, allow_filter

Clock = Callable[[], datetime]

_BUDGET_S = 5.0
_MAX_INDENT = 100
_JSON_GROWTH = 6
"""A character is escaped as up to 6."""
_PASSED_BY_JINJA = ("_block_vars", "_loop_vars")
"""Arguments that jinja adds to every call inside a loop or a block, and removes before it calls the function."""
_UNBOUNDED_FILTERS = ("pprint", "urlize", "xmlattr")
_MAX_CHARACTERS = 2**25
"""Largest length of the output, in characters."""
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
            with spending(Budget(_BUDGET_S)):  # constant expressions are evaluated here
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
        pieces: list[str] = []
        num_characters = 0
        try:
            with spending(Budget(budget_s, variables)) as budget:
                for piece in self._template.generate(variables):
                    budget.tick()
                    num_characters += len(piece)
                    if num_characters > _MAX_CHARACTERS:
                        raise BudgetExceeded(f"rendering makes an output larger than {_MAX_CHARACTERS} characters")
                    pieces.append(piece)
        except _RAISED as error:
            raise RenderingFailed(_one_line(error)) from error
        return "".join(pieces)


def _tick(value: object = None) -> object:
    return current().tick(value)


def _text(value: object) -> str:
    return current().text(value)


def _made(value: object) -> object:
    return current().made(value)


def _joined(*values: object) -> str:
    return current().joined(values)


def _sliced(value: object, start: object, stop: object, step: object) -> object:
    return current().sliced(value, start, stop, step)


_TICK, _MADE, _JOINED, _SLICED = "_onward_tick", "_onward_made", "_onward_joined", "_onward_sliced"
_OWN: Mapping[str, Callable[..., object]] = {_TICK: _tick, _MADE: _made, _JOINED: _joined, _SLICED: _sliced}
"""Functions that compiled templates call, by their names in the template."""
_OWN_IDS = frozenset(map(id, _OWN.values()))


class _Bounded(jinja2.visitor.NodeTransformer):
    """Adds function calls to constructs that take time or make a value, and that the environment cannot intercept."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (named by jinja2)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call(_TICK, [], node.lineno), lineno=node.lineno))
        if node.test is not None:
            node.test = _call(_TICK, [cast(nodes.Expr, node.test)], node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call(_JOINED, node.nodes, node.lineno)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        none = nodes.Const(None, lineno=node.lineno)
        bounds = [bound or none for bound in (node.arg.start, node.arg.stop, node.arg.step)]
        return _call(_SLICED, [node.node, *bounds], node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._made(node, node.items)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        return self._made(node, node.items) if node.ctx == "load" else self.generic_visit(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self._made(node, [part for pair in node.items for part in (pair.key, pair.value)])

    def _made(self, node: nodes.Expr, parts: list[nodes.Expr]) -> nodes.Node:
        self.generic_visit(node)
        is_constant = all(isinstance(part, nodes.Const) for part in parts)
        return node if is_constant else _call(_MADE, [node], node.lineno)


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox in which the current budget allows every operator, call, filter and text."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 (jinja2's own)
        current().operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (jinja2's own)
        if id(obj) in _OWN_IDS:
            return obj(*args)
        budget = current()
        if getattr(obj, "__name__", "") == "join" and len(args) == 1 and not isinstance(args[0], Sized):
            args = (list(budget.items(cast(Iterable[object], args[0]))),)
        named = {name: value for name, value in kwargs.items() if name not in _PASSED_BY_JINJA}
        allow_call(budget, obj, args, named)
        return budget.made(super().call(context, obj, *args, **kwargs))

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Joins the pieces that a macro or a block writes."""
        return current().joined(pieces)


class _GenerationTag(jinja2.ext.Extension):
    """Renders `{% generation %}`, which marks assistant text for training, as its body."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment(clock: Clock) -> jinja2.Environment:
    def strftime_now(form: str) -> str:
        return clock().strftime(form)

    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
        finalize=_text,
    )
    for name in _UNBOUNDED_FILTERS:
        del environment.filters[name]
    environment.filters["tojson"] = _to_json
    environment.filters.update({name: _bounded(name, function) for name, function in environment.filters.items()})
    functions = cast(dict[str, Callable[..., object]], environment.globals)
    functions["raise_exception"] = _raise
    functions["strftime_now"] = strftime_now
    functions.update(_OWN)
    del functions["lipsum"]
    return environment


def _bounded(name: str, function: Callable[..., object]) -> Callable[..., object]:
    """Makes a filter ask the current budget."""
    num_passed = int(hasattr(function, "jinja_pass_arg"))  # jinja passes the environment or the context first

    @wraps(function)
    def bounded(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 (as the filter)
        budget = current()
        passed, given = arguments[:num_passed], list(arguments[num_passed:])
        if name in ITERATING_FILTERS and given and isinstance(given[0], Iterable) and not isinstance(given[0], Sized):
            given[0] = list(budget.items(cast(Iterable[object], given[0])))
        allow_filter(budget, name, given, named)
        return budget.made(function(*passed, *given, **named))

    return bounded


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Converts to JSON like Hugging Face's renderer; Jinja's own filter escapes for HTML."""
    budget = current()
    if indent is not None and (indent if isinstance(indent, int) else len(indent)) > _MAX_INDENT:
        raise BudgetExceeded(f"tojson indents by more than {_MAX_INDENT}")
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    pieces: list[str] = []
    if indent is None:  # the whole text is written at once
        num_separators = budget.size(value) // 8
        budget.spend(_JSON_GROWTH * budget.size(value) + num_separators * max(map(len, separators or ("",))))
    for piece in encoder.iterencode(value):
        if indent is not None:
            budget.spend(budget.size(piece))
        pieces.append(piece)
    return "".join(pieces)


def _raise(message: object) -> None:
    raise jinja2.TemplateError(str(message))


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


def _literals(tree: nodes.Template) -> list[str]:
    data = [node.data for node in tree.find_all(nodes.TemplateData)]
    return data + [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
