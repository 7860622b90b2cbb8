"""What the package exports, and how it documents that."""

import inspect
import re
import runpy
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import onward_client
from onward_client import (
    AsyncClient,
    AsyncCompletionStream,
    Client,
    CompletionStream,
    Conversation,
    OnwardError,
    errors,
)

README = Path(__file__).parents[1] / "README.md"
METHODS = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]
FUNCTIONS: dict[str, Callable[..., object]] = {
    **{name: value for name in onward_client.__all__ if inspect.isfunction(value := getattr(onward_client, name))},
    **{f"{kind.__name__}.{name}": getattr(kind, name) for kind in (Client, AsyncClient) for name in METHODS},
    "Conversation.append": Conversation.append,
    "Completion.parse": onward_client.Completion.parse,
    "Completion.parse_tool_calls": onward_client.Completion.parse_tool_calls,
}


def test_the_version_is_that_of_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"onward-client": "1.2.3"}.__getitem__)

    assert runpy.run_path(onward_client.__file__)["__version__"] == "1.2.3"


def test_without_an_installation_the_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", not_installed)

    assert runpy.run_path(onward_client.__file__)["__version__"] == "0+unknown"


def test_everything_public_is_listed_and_exists() -> None:
    assert sorted(set(onward_client.__all__)) == sorted(onward_client.__all__)
    assert all(hasattr(onward_client, name) for name in onward_client.__all__)


def test_every_type_of_a_public_signature_is_exported() -> None:
    named = {
        name
        for function in FUNCTIONS.values()
        for annotation in inspect.get_annotations(function).values()
        for name in re.findall(r"onward_client\.\w+\.(\w+)", str(annotation))
    }

    assert named >= {"CallOptions", "ClientOptions", "CompleteOptions", "Completion"}
    assert named <= set(onward_client.__all__)


def test_every_exception_is_exported() -> None:
    def tree(kind: type[OnwardError]) -> set[str]:
        return {kind.__name__}.union(*(tree(each) for each in kind.__subclasses__()))

    assert tree(OnwardError) <= set(onward_client.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_documents_its_parameters_result_and_use(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    parameters = [each for each in inspect.signature(FUNCTIONS[name]).parameters if each != "self"]

    assert all(re.search(rf"^    \*{{0,2}}{each}: ", text, re.MULTILINE) for each in parameters)
    if name.rpartition(".")[2] not in {"append", "close"}:
        assert "\nReturns:\n" in text
    if name.rpartition(".")[2] not in {"close", "user", "system", "assistant"}:
        assert "\nRaises:\n" in text
    if not name.endswith(".close"):
        assert "\nExample:\n    >>> " in text


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_both_clients_say_the_same(name: str) -> None:
    assert _plain(getattr(Client, name)) == _plain(getattr(AsyncClient, name))


@pytest.mark.parametrize("name", ["text", "snapshot", "final"])
def test_both_streams_say_the_same(name: str) -> None:
    assert _plain(getattr(CompletionStream, name)) == _plain(getattr(AsyncCompletionStream, name))


@pytest.mark.parametrize(
    "text", [errors.__doc__ or "", README.read_text(encoding="utf-8")], ids=["errors.py", "README.md"]
)
def test_the_documented_tree_of_exceptions_is_complete(text: str) -> None:
    drawn = re.findall(r"^((?:[│ ]   )*)[├└]── (\w+)", text, re.MULTILINE)
    parents = ["OnwardError"]
    found: dict[str, str] = {}
    for indent, name in drawn:
        depth = len(indent) // 4 + 1
        parents[depth:] = [name]
        found[name] = parents[depth - 1]

    exceptions = [getattr(onward_client, name) for name in onward_client.__all__ if name.endswith("Error")]
    assert found == {kind.__name__: kind.__bases__[0].__name__ for kind in exceptions if kind.__name__ != "OnwardError"}


def _plain(documented: object) -> str:
    """The docstring without its example and the keyword `async`."""
    return (inspect.getdoc(documented) or "").partition("\nExample:\n")[0].replace("`async with`", "`with`")
