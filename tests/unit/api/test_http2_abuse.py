import asyncio

import pytest

from testing.fakes_completion import FakeCompleter
from tests.http2_abuse import ABUSE
from tests.raw_http2 import connected
from tests.serving import HELLO, serving


@pytest.mark.parametrize("kind", ABUSE)
async def test_abuse_of_a_connection_fails_no_call_of_another(kind: str) -> None:
    async with serving(FakeCompleter()) as served, connected(served.server.address) as connection:
        await served.completions.Complete(HELLO)
        reading = asyncio.ensure_future(connection.read_to_end())
        await connection.send(ABUSE[kind])
        during = await asyncio.gather(*(served.completions.Complete(HELLO) for _ in range(10)))
        reading.cancel()
        after = await served.completions.Complete(HELLO)

    assert {response.model for response in (*during, after)} == {"fake"}
