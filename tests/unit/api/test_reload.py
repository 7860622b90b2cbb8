"""Keys and certificates are read again when their files change, and at SIGHUP."""

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from onward_server.api.access import load_access
from onward_server.api.watched import Watched
from onward_server.settings.server import Settings
from testing.fakes_completion import FakeCompleter
from tests.certificates import Certificates, write_certificate, write_certificates, write_expired_certificate
from tests.serving import HELLO, STREAM_HELLO, Served, serving


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def code_of_call_with(served: Served, key: str) -> grpc.StatusCode:
    """The status of a call with this key."""
    try:
        await served.completions.Complete(HELLO, metadata=bearer(key))
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED


async def test_a_key_that_is_added_works_and_one_that_is_revoked_stops_at_the_next_call(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("key-1\n")
    async with serving(FakeCompleter(), api_keys_file=keys) as served:
        before = [await code_of_call_with(served, key) for key in ("key-1", "key-2")]
        keys.write_text("key-2\n")  # as long as the first text, perhaps within the same tick of the clock
        after = [await code_of_call_with(served, key) for key in ("key-1", "key-2")]

    assert before == [OK, UNAUTHENTICATED]
    assert after == [UNAUTHENTICATED, OK]


async def test_a_running_stream_goes_on_after_its_key_is_revoked(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("key-1\n")
    completer = FakeCompleter(hangs_after_start=True)
    async with serving(completer, api_keys_file=keys) as served:
        events = aiter(served.completions.StreamComplete(STREAM_HELLO, metadata=bearer("key-1")))
        await anext(events)
        keys.write_text("key-2\n")
        rejected = await code_of_call_with(served, "key-1")
        completer.resume.set()
        rest = [event async for event in events]

    assert rejected is UNAUTHENTICATED
    assert rest[-1].WhichOneof("event") == "end"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("two words\n", "keys:1: not an API key"), ("", "has no API key"), (None, "keys does not exist")],
    ids=["malformed", "empty", "deleted"],
)
async def test_a_broken_key_file_keeps_the_old_keys_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None, reason: str
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("key-1\n")
    async with serving(FakeCompleter(), api_keys_file=keys) as served:
        keys.unlink()
        if text is not None:
            keys.write_text(text)
        during = [await code_of_call_with(served, "key-1") for _ in range(3)]
        keys.write_text("key-2\n")
        after = [await code_of_call_with(served, key) for key in ("key-1", "key-2")]

    complaints = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert during == [OK] * 3
    assert after == [UNAUTHENTICATED, OK]
    assert len(complaints) == 1
    assert complaints[0].startswith("API keys: keeping the previous ones: ")
    assert reason in complaints[0]


async def test_a_swapped_link_is_a_change(tmp_path: Path) -> None:
    """Kubernetes updates a secret in this way: `keys` stays a link to `..data/keys`, and `..data` is replaced."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "keys").write_text(f"key-{number}\n")
        os.utime(tmp_path / f"..{number}" / "keys", (1_000_000, 1_000_000))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    async with serving(FakeCompleter(), api_keys_file=tmp_path / "keys") as served:
        before = [await code_of_call_with(served, key) for key in ("key-1", "key-2")]
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        after = [await code_of_call_with(served, key) for key in ("key-1", "key-2")]

    assert before == [OK, UNAUTHENTICATED]
    assert after == [UNAUTHENTICATED, OK]


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """`--api-keys-file <(command)` is a pipe. Reading it again would wait forever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    watched = Watched("API keys", [pipe], lambda: "keys")
    watched._read = lambda: "other keys"
    watched.reload()

    assert watched.current() == "keys"


async def test_hang_up_reads_keys_and_certificates_again_and_keeps_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    certificates = write_certificates(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text("key-1\n")
    completer = FakeCompleter(hangs_after_start=True)
    async with serving(
        completer, credentials=certificates.trusting(), api_keys_file=keys, **certificates.tls
    ) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(served.server.open(), asyncio.Event()))
        events = aiter(served.completions.StreamComplete(STREAM_HELLO, metadata=bearer("key-1")))
        await anext(events)
        keys.write_text("key-2\n")
        write_certificate(tmp_path, "server")
        caplog.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        await served.health()
        reloaded = [record.getMessage() for record in caplog.records if "read again" in record.getMessage()]
        completer.resume.set()
        rest = [event async for event in events]
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    assert [line.partition(":")[0] for line in reloaded] == ["TLS certificates", "API keys"]
    assert rest[-1].WhichOneof("event") == "end"


async def connects(served: Served, credentials: grpc.ChannelCredentials) -> bool:
    """Whether a new connection with these credentials is accepted."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(served.server.address, credentials, options=options) as channel:
        try:
            await Served(served.server, channel).completions.Complete(HELLO)
        except grpc.aio.AioRpcError:
            return False
    return True


@contextmanager
def replaced_by(certificates: Certificates, other: Certificates, *names: str) -> Generator[None]:
    """Copies files of another authority over those of the first, and back."""
    mine = {name: (certificates.folder / name).read_bytes() for name in names}
    for name in names:
        shutil.copy(other.folder / name, certificates.folder / name)
    yield
    for name, data in mine.items():
        (certificates.folder / name).write_bytes(data)


async def test_new_connections_get_the_new_certificate_and_the_new_client_authority(tmp_path: Path) -> None:
    old, new = write_certificates(tmp_path / "old"), write_certificates(tmp_path / "new")
    async with serving(FakeCompleter(), credentials=old.with_client(), **old.mutual_tls) as served:
        await served.completions.Complete(HELLO)
        before = [await connects(served, files.with_client()) for files in (old, new)]
        with replaced_by(old, new, "server.crt", "server.key", "ca.crt"):
            after = [await connects(served, credentials) for credentials in (new.with_client(), new.trusting())]
            on_the_old_connection = await served.completions.Complete(HELLO)
        restored = await connects(served, old.with_client())

    assert before == [True, False]
    assert after == [True, False]
    assert on_the_old_connection.model == "fake"
    assert restored


@pytest.mark.parametrize("name", ["server.crt", "server.key", "ca.crt"])
async def test_a_broken_new_certificate_keeps_the_old_one_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    files = write_certificates(tmp_path)
    async with serving(FakeCompleter(), credentials=files.with_client(), **files.mutual_tls) as served:
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        is_accepted = await connects(served, grpc_credentials(files, tmp_path, name))

    (complaint,) = {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR}
    assert is_accepted
    assert complaint.startswith("TLS certificates: keeping the previous ones: --tls-")
    assert str(tmp_path / name) in complaint


def grpc_credentials(files: Certificates, folder: Path, spoiled: str) -> grpc.ChannelCredentials:
    """A client's credentials, though its authority file may have been spoiled."""
    if spoiled == "ca.crt":
        return grpc.ssl_channel_credentials(
            (folder / "server.crt").read_bytes(),
            (folder / "client.key").read_bytes(),
            (folder / "client.crt").read_bytes(),
        )
    return files.with_client()


def test_an_expired_certificate_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_certificates(tmp_path)
    write_expired_certificate(tmp_path, "server")

    load_access(Settings(**files.tls))

    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"--tls-cert: {tmp_path}/server.crt: certificate has expired; clients will reject it")
