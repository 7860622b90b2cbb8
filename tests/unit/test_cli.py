import asyncio
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from onward_server import app
from onward_server.cli import main
from onward_server.domain import RawText
from onward_server.settings.client import ClientSettings
from onward_server.settings.server import Settings
from testing.fakes_completion import CARD, FakeCompleter
from tests.serving import Served, serving

WITHOUT_TEMPLATE = replace(CARD, capabilities=replace(CARD.capabilities, chat=False))

Output = Callable[[], tuple[str, str]]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    """Reads what was written to stdout and stderr."""

    def read() -> tuple[str, str]:
        captured = capsys.readouterr()
        return captured.out, captured.err

    return read


async def onward(served: Served, command: str, *words: str) -> int:
    """Runs a client command against the server. It blocks, so it runs in a thread."""
    return await asyncio.to_thread(main, [command, "--target", served.server.address, *words])


async def test_complete_sends_a_message_and_prints_that_it_does(output: Output) -> None:
    completer = FakeCompleter()
    async with serving(completer) as served:
        code = await onward(served, "complete", "Hi", "--system", "Be brief.", "--temperature", "0", "--stop", "x")

    out, err = output()
    (request,) = completer.requests
    assert (code, out) == (0, "Hello world\n")
    assert "sending a message to fake" in err
    assert "stop: 3 prompt tokens, 3 completion tokens" in err
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", ("Be brief.",)),
        ("user", ("Hi",)),
    ]
    assert request.sampling == {"temperature": 0, "stop": ("x",)}


@pytest.mark.parametrize(
    ("completer", "words", "said"),
    [
        (FakeCompleter(card=WITHOUT_TEMPLATE), [], "sending raw text to fake, which has no chat template"),
        (FakeCompleter(), ["--raw"], "sending raw text to fake"),
    ],
    ids=["a model without a template", "as asked"],
)
async def test_complete_sends_raw_text_and_prints_that_it_does(
    completer: FakeCompleter, words: list[str], said: str, output: Output
) -> None:
    async with serving(completer) as served:
        code = await onward(served, "complete", "Once", *words)

    assert code == 0
    assert said in output()[1]
    assert completer.requests[0].raw_prompt == RawText(text="Once")


async def test_a_system_message_that_cannot_be_sent_is_an_error(output: Output) -> None:
    completer = FakeCompleter(card=WITHOUT_TEMPLATE)
    async with serving(completer) as served:
        code = await onward(served, "complete", "Once", "--system", "Be brief.")

    assert code == 1
    assert "--system: fake has no chat template" in output()[1]
    assert completer.requests == []


async def test_a_system_message_with_raw_text_is_an_error(output: Output) -> None:
    completer = FakeCompleter()
    async with serving(completer) as served:
        code = await onward(served, "complete", "Once", "--raw", "--system", "Be brief.")

    assert code == 1
    assert "--system: --raw sends no messages; leave it out" in output()[1]
    assert completer.requests == []


async def test_a_stream_prints_the_same_text(output: Output) -> None:
    async with serving(FakeCompleter()) as served:
        code = await onward(served, "complete", "Hi", "--stream")

    assert (code, output()[0]) == (0, "Hello world\n")


async def test_json_is_one_message_per_line(output: Output) -> None:
    async with serving(FakeCompleter()) as served:
        await onward(served, "complete", "Hi", "--json")
        (whole,) = map(json.loads, output()[0].splitlines())
        await onward(served, "complete", "Hi", "--json", "--stream")
        events = [json.loads(line) for line in output()[0].splitlines()]

    assert whole["choices"][0]["message"]["content"] == [{"text": "Hello world"}]
    assert [list(event) for event in events] == [["start"], ["delta"], ["delta"], ["finish"], ["end"]]


async def test_without_a_prompt_stdin_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"from a pipe")
    completer = FakeCompleter()
    async with serving(completer) as served:
        await onward(served, "complete", "-")

    assert completer.requests[0].messages[0].content == ("from a pipe",)


def pipe_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Makes the bytes stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


async def test_input_that_is_not_utf_8_is_an_error_with_the_place(
    monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    pipe_in(monkeypatch, "Hello\nGrüße".encode("latin-1"))
    completer = FakeCompleter()
    async with serving(completer) as served:
        code = await onward(served, "complete")

    assert code == 1
    assert output()[1] == (
        "onward: stdin: byte 0xfc in line 2, column 3 is not UTF-8; convert the text first, for example with "
        "`iconv -f latin1 -t utf-8`\n"
    )
    assert completer.requests == []


async def test_an_argument_that_is_not_utf_8_is_an_error_in_one_line(output: Output) -> None:
    async with serving(FakeCompleter()) as served:
        code = await onward(served, "complete", os.fsdecode("Grüße".encode("latin-1")))

    err = output()[1]
    assert code == 1
    assert err.splitlines()[-1].startswith("onward: ")
    assert "Traceback" not in err


async def test_at_a_terminal_the_command_says_that_it_reads_and_how_to_end() -> None:
    terminal, keyboard = os.openpty()
    completer = FakeCompleter()
    async with serving(completer) as served:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "onward_server", "complete", "--target", served.server.address),
            stdin=keyboard,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        said = await process.stderr.readline()
        os.write(terminal, b"Hi\n\x04")
        out, _ = await process.communicate()
    os.close(terminal)
    os.close(keyboard)

    assert said == b"onward: reading the prompt from the terminal; end it with Ctrl-D on a line of its own\n"
    assert completer.requests[0].messages[0].content == ("Hi\n",)
    assert (process.returncode, out) == (0, b"Hello world\n")


async def test_output_that_the_terminal_cannot_show_is_escaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    async with serving(FakeCompleter(texts=("Grüße",))) as served:
        code = await onward(served, "complete", "Hi")

    assert (code, shown.getvalue()) == (0, b"Gr\\xfc\\xdfe\n")


async def test_models_are_listed(output: Output) -> None:
    other = FakeCompleter(card=replace(WITHOUT_TEMPLATE, id="other", is_default=False))
    async with serving(FakeCompleter(), other) as served:
        code = await onward(served, "models")
        lines = output()[0].splitlines()
        await onward(served, "models", "--json")
        models = [json.loads(line) for line in output()[0].splitlines()]

    assert code == 0
    assert lines == [
        "fake: 128 tokens, messages, fp32, CPUExecutionProvider, tool format hermes, reasoning format none, default",
        "other: 128 tokens, raw text only, fp32, CPUExecutionProvider, tool format hermes, reasoning format none",
    ]
    assert [model["id"] for model in models] == ["fake", "other"]


async def test_health_exits_with_0_only_while_the_server_is_serving(output: Output) -> None:
    completer = FakeCompleter(hangs_after_start=True)
    async with serving(completer) as served:
        well = await onward(served, "health", "--service", "onward.v1.CompletionService")
        call = asyncio.ensure_future(onward(served, "complete", "Hi"))
        await completer.started.wait()
        draining = asyncio.ensure_future(served.server.drain(60))
        await served.wait_until_not_serving()
        unwell = await onward(served, "health")
        completer.resume.set()
        await asyncio.gather(call, draining)

    assert (well, unwell) == (0, 1)
    assert output()[0] == "SERVING\nNOT_SERVING\nHello world\n"


def test_a_server_that_cannot_be_reached_is_a_failure_in_one_line(output: Output) -> None:
    code = main(["health", "--target", "127.0.0.1:1"])

    out, err = output()
    assert (code, out) == (1, "")
    assert err.startswith("onward: UNAVAILABLE")
    assert err.count("\n") == 1


async def test_an_error_of_the_server_is_printed_with_its_reason(output: Output) -> None:
    async with serving(FakeCompleter()) as served:
        code = await onward(served, "complete", "Hi", "--model", "x")

    assert code == 1
    assert "NOT_FOUND MODEL_NOT_FOUND" in output()[1]


async def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# of the server\n\nkey-1 # ops\nkey-2\n", encoding="utf-8")
    async with serving(FakeCompleter(), api_keys_file=keys) as served:
        without = await onward(served, "models")
        from_file = await onward(served, "models", "--api-key-file", str(keys))
        monkeypatch.setenv("ONWARD_API_KEY", "key-1")
        from_environment = await onward(served, "models")

    assert (without, from_file, from_environment) == (1, 0, 0)


async def test_the_target_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(FakeCompleter()) as served:
        monkeypatch.setenv("ONWARD_TARGET", served.server.address)
        code = await asyncio.to_thread(main, ["health"])

    assert code == 0


def test_empty_environment_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_TARGET", "")
    monkeypatch.setenv("ONWARD_API_KEY", "")

    assert ClientSettings.read() == ClientSettings(target="127.0.0.1:50051", api_key=None)


def test_a_missing_key_file_is_a_failure_that_names_it(tmp_path: Path, output: Output) -> None:
    code = main(["models", "--api-key-file", str(tmp_path / "missing")])

    assert code == 1
    assert str(tmp_path / "missing") in output()[1]


@pytest.mark.parametrize("words", [[], ["nope"], ["complete", "--top-k", "x"], ["health", "--nope"]])
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)

    assert caught.value.code == 2


def test_wrong_settings_exit_with_2_and_are_named(output: Output) -> None:
    assert main(["serve", "--slots", "0", "--listen", "x"]) == 2
    assert output()[1].count("onward: --") == 2


def test_serve_hands_its_settings_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def run(settings: Settings) -> int:
        seen.append(settings)
        return 7

    monkeypatch.setattr(app, "run", run)

    assert main(["serve", "--slots", "3"]) == 7
    assert seen[0].slots == 3


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: Settings) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "run", run)

    assert main(["serve"]) == 130


def test_the_version_is_the_distributions(output: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert output()[0].startswith("onward ")
