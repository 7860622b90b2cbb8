"""The embedded model behind a server does what models/pocket/README.md says."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from onward_client import AsyncClient
from tests.model_serving import Serve

POCKET = Path(__file__).parents[2] / "models/pocket"


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return city


def get_time(city: str) -> str:
    """Get the time in a city."""
    return city


@pytest.fixture
async def client(serve: Serve) -> AsyncGenerator[AsyncClient]:
    async with serve(POCKET / "served") as served, AsyncClient(served.server.address) as client:
        yield client


async def test_it_says_hello(client: AsyncClient) -> None:
    assert (await client.complete("Hello!")).text.startswith("Hello!")


async def test_it_calls_the_tool_that_the_request_needs(client: AsyncClient) -> None:
    completion = await client.complete("What is the weather in Rome?", tools=[get_time, get_weather])
    (call,) = completion.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Rome"})


async def test_its_model_card_says_what_its_readme_says(client: AsyncClient) -> None:
    (model,) = await client.models()
    readme = (POCKET / "README.md").read_text(encoding="utf-8")
    assert f"| context | {model.context_length:,} tokens" in readme
    assert f"BPE of {model.vocabulary_size:,} tokens" in readme
    assert f"| default | greedy, {model.default_sampling.max_tokens} tokens at most |" in readme
    assert model.precision == "fp32"
    assert model.default_sampling.temperature == 0
    assert model.capabilities.tools
    assert model.capabilities.deterministic
