"""The examples of the Python client work with the embedded model."""

import asyncio
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.model_serving import Serve

REPOSITORY = Path(__file__).parents[2]
POCKET = REPOSITORY / "models" / "pocket" / "served"


def example(name: str) -> Callable[[str], Any]:
    """The `main` of one example."""
    path = REPOSITORY / "clients" / "python" / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


async def run(serve: Serve, name: str) -> Any:  # noqa: ANN401  each example returns another type
    async with serve(POCKET) as served:
        return await asyncio.to_thread(example(name), served.server.address)


async def test_the_model_calls_a_function_and_answers_with_its_result(serve: Serve) -> None:
    assert "sunny" in await run(serve, "tool_loop")


async def test_a_sentence_becomes_an_object(serve: Serve) -> None:
    person = await run(serve, "extract")
    assert (person.name, person.age, person.city) == ("Anna", 30, "Rome")


async def test_a_conversation_remembers(serve: Serve) -> None:
    assert "Anna" in await run(serve, "memory")


async def test_a_story_is_streamed(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    story = await run(serve, "story")
    assert story.count(".") >= 4
    assert "Mia" in story
    assert story in capsys.readouterr().out
