"""The examples in the docstrings of the Python client print what they show, with the embedded model behind them."""

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil

import onward_client
from onward.v1.model_service_pb2 import GetModelRequest
from onward_client import AsyncClient, Client
from tests.documented_examples import DOCUMENTED_TARGET
from tests.integration.test_readme import POCKET
from tests.model_serving import Serve


def documented() -> dict[str, list[doctest.DocTest]]:
    """The docstrings with examples of every module of the package."""
    modules = [each.name for each in pkgutil.iter_modules(onward_client.__path__, "onward_client.")]
    found = {name: doctest.DocTestFinder().find(importlib.import_module(name)) for name in modules}
    return {name: with_examples for name, all_ in found.items() if (with_examples := [t for t in all_ if t.examples])}


def run(example: doctest.Example, names: dict[str, object], runner: asyncio.Runner) -> str:
    """Returns what an example prints; it may await, as in `python -m asyncio`."""
    code = compile(example.source, "<docstring>", "single", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, names)  # noqa: S307 - the package's own docstrings
        if inspect.isawaitable(result):
            runner.run(awaited(result))
    return printed.getvalue()


async def awaited(result: object) -> None:
    assert inspect.isawaitable(result)
    await result


def mismatches(tests: list[doctest.DocTest], target: str, *, is_async: bool) -> list[str]:
    """Returns the examples of a module that print something else. Each docstring has a namespace of its own."""
    wrong: list[str] = []
    with asyncio.Runner() as runner, Client(target) as client:
        async_client = runner.run(connected(target))
        for test in tests:
            names: dict[str, object] = {name: getattr(onward_client, name) for name in onward_client.__all__}
            names |= {"GetModelRequest": GetModelRequest, "client": async_client if is_async else client}
            for example in test.examples:
                example.source = example.source.replace(DOCUMENTED_TARGET, target)
                printed = run(example, names, runner)
                if not doctest.OutputChecker().check_output(example.want, printed, 0):
                    wrong.append(f"{test.name}: {example.source}should print: {example.want}printed: {printed}")
        runner.run(async_client.close())
    return wrong


async def connected(target: str) -> AsyncClient:
    return AsyncClient(target)


DOCUMENTED = documented()


def test_the_clients_have_examples() -> None:
    assert {"onward_client.client", "onward_client.async_client", "onward_client.messages"} <= set(DOCUMENTED)


async def test_the_examples_print_what_they_show(serve: Serve) -> None:
    wrong: list[str] = []
    async with serve(POCKET, model=(f"pocket={POCKET}",)) as served:
        for module, tests in DOCUMENTED.items():
            is_async = module.rpartition(".")[2].startswith("async_")
            wrong += await asyncio.to_thread(mismatches, tests, served.server.address, is_async=is_async)

    assert not wrong, "\n".join(wrong)
