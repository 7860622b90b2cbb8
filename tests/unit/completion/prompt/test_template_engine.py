from datetime import datetime

import pytest

from onward_server.completion.prompt.template_engine import InvalidTemplate, RenderingFailed, TemplateEngine


def render(source: str, **variables: object) -> str:
    return TemplateEngine(source, clock=lambda: datetime(2026, 2, 3)).render(variables)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ x | tojson }}", '{"é": "<b>\\"&\'"}'),
        ("{{ x | tojson(ensure_ascii=True) }}", '{"\\u00e9": "<b>\\"&\'"}'),
        ("{{ x | tojson(indent=2) }}", '{\n  "é": "<b>\\"&\'"\n}'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=True) }}", '{"a": 2, "b": 1}'),
        ("{{ strftime_now('%d %b %Y') }}", "03 Feb 2026"),
        ("a{% generation %}b{{ 1 }}{% endgeneration %}c", "ab1c"),
        ("{% set a = 1 %}{%- generation -%}{% set a = 2 %}{%- endgeneration -%}{{ a }}", "1"),
        ("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "02345678"),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("  {% if true %}\n  x\n  {% endif %}\n", "  x\n"),
        ("{{ 'a' ~ 1 ~ none }}", "a1None"),
        ("{{ 'a' * 3 + 2 * 'b' }} {{ 2 ** 10 * 3 }} {{ [1] * 2 + [2] }}", "aaabb 3072 [1, 1, 2]"),
        ("{% macro f(n) %}{% if n %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "321"),
        ("{{ missing }}|{{ missing is defined }}", "|False"),
    ],
)
def test_the_rendering_is_that_of_hugging_face(source: str, text: str) -> None:
    assert render(source, x={"é": "<b>\"&'"}) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('roles\n must  alternate') }}", "roles must alternate"),
        ("{{ missing + 'a' }}", "'missing' is undefined"),
        ("{{ none + 'a' }}", "unsupported operand"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ x['__class__'] }}{{ x.__class__.__mro__ }}", "access to attribute '__class__'"),
        ("{% set _ = x.append(1) %}", "unsafe"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 'é' | tojson(indent=[]) }}{{ {}['a'].b }}", ""),
    ],
)
def test_an_error_in_a_template_fails_the_rendering(source: str, message: str) -> None:
    with pytest.raises(RenderingFailed, match=f"(?i){message}"):
        render(source, x=[1])


def test_a_long_error_is_shortened() -> None:
    with pytest.raises(RenderingFailed) as caught:
        render("{{ raise_exception('x' * 10000) }}")
    assert str(caught.value) == "x" * 300 + "…"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) if n < 60 }}{{ f(n + 1) if n < 60 }}{% endmacro %}{{ f(0) }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_stopped(source: str) -> None:
    with pytest.raises(RenderingFailed, match=r"longer than 0\.02 s"):
        TemplateEngine(source).render({}, budget_s=0.02)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ (10 ** 9) * [1] }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% for i in range(99) %}{{ 'x' * 10 ** 6 }}{% endfor %}",
    ],
)
def test_a_template_that_grows_without_bounds_is_stopped(source: str) -> None:
    with pytest.raises(RenderingFailed, match=r"larger than|Range too big"):
        render(source)


@pytest.mark.parametrize(
    ("source", "message"), [("{% if %}", "line 1: Expected"), ("\n{{ x | nosuch }}", "line 2: No filter")]
)
def test_an_invalid_template_is_reported_with_its_line(source: str, message: str) -> None:
    with pytest.raises(InvalidTemplate, match=message):
        TemplateEngine(source)


def test_variables_and_literals_of_a_template_are_found() -> None:
    engine = TemplateEngine("<a>{% set y = x %}{{ '<b>' + y }}{# <c> #}{{ z.w }}")
    assert engine.variables == {"x", "z"}
    assert set(engine.literals.split("\0")) == {"<a>", "<b>"}
