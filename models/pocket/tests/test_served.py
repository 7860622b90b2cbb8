import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from onward_client import Client, complete_request
from pocket.chat_format import SERVED, prompt_text
from pocket.corpus import SKILLS, evaluation_conversations
from pocket.served_answers import message_dicts, tool_dicts
from pocket.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a server, in a process of its own, that serves the model of this folder."""
    serve = [sys.executable, "-m", "onward_server", "serve", "--model", SERVED, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            addresses = (re.search(r" on (127\.0\.0\.1:\d+); try: ", line) for line in process.stderr)
            address = next(filter(None, addresses))[1]
            with Client(address) as client:
                yield client
        finally:
            process.terminate()
            process.communicate()


def test_the_server_makes_the_same_tokens_of_a_prompt_as_the_recipe(client: Client) -> None:
    conversations = evaluation_conversations(10)
    assert {one.skill for one in conversations} == SKILLS.keys()
    for conversation in conversations:
        request = complete_request(message_dicts(conversation.prompt), tools=tool_dicts(conversation.tools) or None)
        expected = load_tokenizer().encode(prompt_text(conversation), add_special_tokens=False).ids
        assert [token.id for token in client.tokenize(request).tokens] == expected
