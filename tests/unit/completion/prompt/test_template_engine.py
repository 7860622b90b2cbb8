import resource
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


NESTED = "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}"
LONG = "{% set s = 'x' * 10 ** 7 %}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%*d' % (10 ** 9, 1) }}",
        "{{ '%((a))1000000000d' % {'(a)': 1} }}",
        "{{ '%1000000000s' | format('a') }}",
        "{{ ('%(a)s' * 10 ** 4) % {'a': 'x' * 10 ** 6} }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10 ** 9) }}",
        "{{ '{:{}}'.format(1, '>1000000000') }}",
        "{{ '{a:{w}}'.format_map({'a': 1, 'w': 10 ** 9}) }}",
        "{{ ('{0}' * 10 ** 5).format('x' * 10 ** 6) }}",
        "{{ 'a'.center(10 ** 9) }}",
        "{% for i in [1] %}{{ 'a'.center(10 ** 9) }}{{ '{:>1000000000}'.format(1) }}{% endfor %}",
        "{% block b %}{{ 'a'.ljust(10 ** 9) }}{% endblock %}",
        "{% for i in [1] %}{% for j in [1] %}{{ ('\\t' * 10 ** 6).expandtabs(10 ** 6) }}{% endfor %}{% endfor %}",
        "{{ 'a'.ljust(10 ** 9) }}",
        "{{ 'a'.rjust(10 ** 9) }}",
        "{{ 'a'.zfill(10 ** 9) }}",
        "{{ 'a' | attr('center')(10 ** 9) }}",
        "{{ 'a'.encode().center(10 ** 9) }}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ ['a'] | map('center', 10 ** 9) | first }}",
        "{% filter center(10 ** 9) %}a{% endfilter %}",
        "{{ ('\t' * 10 ** 6).expandtabs(10 ** 6) }}",
        "{{ ('a' * 10 ** 6).translate({97: 'x' * 10 ** 6}) }}",
        LONG + "{{ s.replace('x', s) }}",
        LONG + "{{ s | replace('x', s) }}",
        LONG + "{{ [s, s] | string | replace('x', s) }}",
        LONG + "{{ s.split('x') }}",
        LONG + "{{ s | list }}",
        LONG + "{{ s | sort }}",
        "{{ range(9999) | join('x' * 10 ** 6) }}",
        "{{ ('x' * 10 ** 6).join(range(9999) | map('string')) }}",
        "{{ ('\n' * 10 ** 6) | indent(10 ** 6) }}",
        "{{ ('x' * 10 ** 6) | wordwrap(1, wrapstring='y' * 10 ** 6) }}",
        "{{ [1] | batch(10 ** 9, 0) | list }}",
        "{{ [1] | slice(10 ** 9) | list }}",
        "{{ ([['x' * 100] * 100] * 10 ** 4) | sum(start=[]) }}",
        "{{ [[1]] | tojson(separators=('x' * 10 ** 7, ':')) }}",
        "{{ 1 | round(10 ** 9) }}",
        "{{ (1).to_bytes(10 ** 9, 'big') }}",
        "{{ '{form:>1000000000}'.format(form=1) }}",
        "{{ '{a:>1000000000}'.format_map({'a': 1, 2: 3}) }}",
        "{{ ('{:>1000000000}{:>' ~ '9' * 5000 ~ '}').format(1, 2) }}",
        "{{ ('a' * 10 ** 6).translate(['x' * 10 ** 6] * 98) }}",
        "{{ ('x' * 10 ** 6) | wordwrap(1, true, 'y' * 10 ** 6) }}",
        "{{ [1] | batch(linecount=10 ** 9, fill_with=0) | list }}",
        "{{ [1] | slice(slices=10 ** 9) | list }}",
        "{{ ([[]] * 10 ** 5) | sum(start=[0] * 10 ** 5) }}",
        "{% set n = namespace(a='<' * 10**6) %}{% for i in range(99) %}{% set n.a = n.a | e | e | e | e %}{% endfor %}",
        "{{ strftime_now('%c' * 10 ** 7) }}",
        "{{ ['x' * 10 ** 6] * 10 ** 5 }}",
        "{{ ('a' | safe).join(['<' * 10 ** 7]) }}",
        "{% for i in range(99999) %}{% set k = 'x' * 10 ** 5 %}{% endfor %}",
        NESTED + "{% endfor %}{{ n.a }}",
        NESTED + "{% endfor %}{{ n.a | tojson }}",
        NESTED + "{% set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}",
        "{% set n = namespace(d=0) %}{% for i in range(60) %}{% set n.d = dict(a=n.d, b=n.d) %}{% endfor %}{{ n.d }}",
        "{% set n = namespace(d=0) %}{% for i in range(60) %}{% set n.d = {'a': n.d, 1: n.d} %}{% endfor %}{{ n.d }}",
        "{% macro f() %}{% for i in range(99999) %}{{ 'x' * 10 ** 5 }}{% endfor %}{% endmacro %}{{ f() }}",
        "{% set t %}{% for i in range(99999) %}{{ 'x' * 10 ** 5 }}{% endfor %}{% endset %}",
        LONG + "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = n.l + [s[1:]] %}{% endfor %}",
        LONG + "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = n.l + [s | upper] %}{% endfor %}",
        LONG + "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = n.l + [s.lower()] %}{% endfor %}",
        LONG + "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = n.l + [s ~ i] %}{% endfor %}",
    ],
)
def test_no_operation_takes_unbounded_time_or_memory(source: str) -> None:
    """Padding, formatting and joining passed the bounds on operators, loops and output, and took gigabytes."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RenderingFailed, match=r"larger than"):
        render(source)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 300 * 1024


@pytest.mark.parametrize("source", ["{{ [[1]] | tojson(indent=10 ** 9) }}", "{{ [[1]] | tojson(indent='x' * 999) }}"])
def test_json_is_indented_by_a_bounded_width(source: str) -> None:
    with pytest.raises(RenderingFailed, match="tojson indents by more than 100"):
        render(source)


def test_a_namespace_is_not_printed() -> None:
    with pytest.raises(RenderingFailed, match="namespace"):
        render("{% set n = namespace() %}{% set n.m = n %}{{ n }}")


@pytest.mark.parametrize("source", ["{{ lipsum() }}", "{{ lipsum(n=10 ** 9) }}"])
def test_random_text_is_not_available(source: str) -> None:
    with pytest.raises(RenderingFailed, match="'lipsum' is undefined"):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for x in range(99999) if range(99999) | list == [1] %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) if n < 60 }}{{ f(n + 1) if n < 60 }}{% endmacro %}{{ f(0) }}",
        "{% set l = range(99999) | list %}{% for i in range(99999) %}{% set k = l | sort %}{% endfor %}",
        "{{ range(99999) | map('string') | map('center', 99) | list }}",
    ],
)
def test_work_that_is_not_in_the_body_of_a_loop_is_stopped_too(source: str) -> None:
    with pytest.raises(RenderingFailed, match=r"longer than 0\.02 s"):
        TemplateEngine(source).render({}, budget_s=0.02)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ '%s is %05.1f' % ('a', 2) }} {{ '%(a)s' % {'a': 1} }} {{ 7 % 4 }}", "a is 002.0 1 3"),
        ("{{ '{} {a:>4}'.format(1, a=2) }} {{ '{b}'.format_map({'b': 3}) }}", "1    2 3"),
        ("{{ 'a'.center(5) }}|{{ 'a' | center(5) }}|{{ 'a\nb' | indent(2) }}", "  a  |  a  |a\n  b"),
        (
            "{{ 'a-b'.split('-') }} {{ 'a b'.split() | join('+') }} {{ ','.join(x | map('string')) }}",
            "['a', 'b'] a+b 1,2",
        ),
        ("{{ x[1:] }} {{ 'abc'[::-1] }} {{ x[:-1] + [3] }} {{ (1, 2) + (3,) }}", "[2] cba [1, 3] (1, 2, 3)"),
        ("{{ [x | first, {'k': x}] }} {{ dict(a=x) }} {{ x | sum }}", "[1, {'k': [1, 2]}] {'a': [1, 2]} 3"),
        ("{% set t %}a{% filter upper %}b{% endfilter %}{% endset %}{{ t ~ x }}", "aB[1, 2]"),
        ("{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}{{ v }}{% endfor %}", "a2b1"),
        ("{% for i in range(9) if i is odd %}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "1,3,5,7"),
        ("{{ x | batch(2, 0) | list }} {{ 2.345 | round(1) }} {{ none }} {{ true }}", "[[1, 2]] 2.3 None True"),
        ("{% block a %}{{ x | length }}{% endblock %}{{ self.a() }}", "22"),
    ],
)
def test_operations_within_the_bounds_give_what_jinja_gives(source: str, text: str) -> None:
    assert render(source, x=[1, 2]) == text


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
