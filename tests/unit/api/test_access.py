from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from onward.v1.completion_pb2 import CompleteRequest
from onward_server.api.access import ApiKeys, load_access
from onward_server.errors import StartupError
from onward_server.settings.server import Settings
from testing.fakes_completion import FakeCompleter
from tests.certificates import Certificates, write_certificates, write_encrypted_key
from tests.serving import HELLO, STREAM_HELLO, Served, details, failure, serving
from tests.waiting import WAIT_S

KEY = "key-canary-1"
OPEN_METHODS = {f"grpc.health.v1.Health/{method}" for method in ("Check", "Watch", "List")}


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\n{KEY}  # the first\nkey-2\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("tls"))


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def test_with_keys_every_method_but_health_needs_one(keys_file: Path) -> None:
    """The methods are those that reflection lists, so the test covers new ones, too."""
    async with serving(FakeCompleter(), api_keys_file=keys_file) as served:
        methods = await _listed_methods(served)
        refused = [(await failure(served.call_with_bytes(f"/{method}"))).code() for method in sorted(methods)]
        status = await served.health()

    assert len(methods) == 8
    assert set(refused) == {grpc.StatusCode.UNAUTHENTICATED}
    assert status == 1


async def test_without_a_key_an_unknown_method_gets_the_same_status(keys_file: Path) -> None:
    async with serving(FakeCompleter(), api_keys_file=keys_file) as served:
        error = await failure(served.call_with_bytes("/onward.v1.CompletionService/Guess"))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("key", [KEY, "key-2"])
async def test_every_key_of_the_file_is_accepted_by_every_method(keys_file: Path, key: str) -> None:
    async with serving(FakeCompleter(), api_keys_file=keys_file) as served:
        response = await served.completions.Complete(HELLO, metadata=bearer(key))
        events = [event async for event in served.completions.StreamComplete(STREAM_HELLO, metadata=bearer(key))]

    assert response.model == "fake"
    assert len(events) == 5


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        bearer("other"),
        bearer(""),
        bearer(f"{KEY}x"),
        (("authorization", KEY),),
        (("authorization", f"Basic {KEY}"),),
        (*bearer("other"), *bearer(KEY)),
        (("authorization-bin", f"Bearer {KEY}".encode()),),
    ],
    ids=["none", "another", "empty", "longer", "no scheme", "wrong scheme", "two", "binary"],
)
async def test_anything_but_exactly_one_key_is_rejected(
    keys_file: Path, metadata: tuple[tuple[str, str | bytes], ...]
) -> None:
    async with serving(FakeCompleter(), api_keys_file=keys_file) as served:
        error = await failure(served.completions.Complete(HELLO, metadata=metadata))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert details(error).keys() == {"ErrorInfo", "RequestInfo"}


def test_the_scheme_may_have_any_case() -> None:
    assert ApiKeys([KEY]).accept([("authorization", f"bEARER {KEY}")])


async def test_a_key_is_in_no_log_line(keys_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with serving(FakeCompleter(), api_keys_file=keys_file) as served:
        await served.completions.Complete(HELLO, metadata=bearer(KEY))
        await failure(served.completions.Complete(HELLO, metadata=bearer(f"{KEY}x")))

    assert "canary" not in repr([record.__dict__ for record in caplog.records])
    codes = [record.__dict__["fields"]["code"] for record in caplog.records if record.getMessage() == "request"]
    assert codes == ["OK", "UNAUTHENTICATED"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no API key"),
        ("# only\n  \n", "has no API key"),
        ("good\ntwo words\n", "keys:2: not an API key"),
        ("naïve\n", "keys:1: not an API key"),
    ],
)
def test_a_bad_key_file_prevents_the_start_and_no_key_is_shown(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(StartupError, match=complaint) as caught:
        load_access(Settings(api_keys_file=path))
    assert not {"words", "naïve"} & set(str(caught.value).replace(":", " ").split())


def test_a_file_that_cannot_be_read_prevents_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"--api-keys-file: .*missing does not exist; correct the path"):
        load_access(Settings(api_keys_file=tmp_path / "missing"))


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
def test_an_unprotected_server_on_a_network_does_not_start(listen: str) -> None:
    with pytest.raises(StartupError, match=r"TLS .* and API keys .*--insecure"):
        load_access(Settings(listen=listen))


def test_tls_without_keys_and_keys_without_tls_do_not_suffice(keys_file: Path, certificates: Certificates) -> None:
    with pytest.raises(StartupError, match="without TLS"):
        load_access(Settings(listen="0.0.0.0:0", api_keys_file=keys_file))
    with pytest.raises(StartupError, match="without API keys"):
        load_access(Settings(listen="0.0.0.0:0", **certificates.tls))


def test_tls_with_keys_or_client_certificates_may_listen_on_a_network(
    keys_file: Path, certificates: Certificates
) -> None:
    with_keys = Settings(listen="0.0.0.0:0", api_keys_file=keys_file, **certificates.tls)
    with_client_certificates = Settings(listen="0.0.0.0:0", **certificates.mutual_tls)

    assert load_access(with_keys).credentials is not None
    assert load_access(with_client_certificates).credentials is not None


def test_access_is_logged_as_a_warning_if_a_network_has_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    load_access(Settings())
    load_access(Settings(listen="0.0.0.0:0", insecure=True))

    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "the network can connect to 0.0.0.0:0 over plaintext; everyone who can connect may call" in caplog.text


async def test_clients_verify_the_certificate_of_the_server(certificates: Certificates) -> None:
    async with serving(FakeCompleter(), credentials=certificates.trusting(), **certificates.tls) as served:
        response = await served.completions.Complete(HELLO)
    async with serving(FakeCompleter(), **certificates.tls) as served:
        error = await failure(served.completions.Complete(HELLO, timeout=WAIT_S))

    assert response.model == "fake"
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls_needs_a_certificate_of_the_right_authority(certificates: Certificates) -> None:
    async with serving(FakeCompleter(), credentials=certificates.with_client(), **certificates.mutual_tls) as served:
        response = await served.completions.Complete(HELLO)
    async with serving(FakeCompleter(), credentials=certificates.trusting(), **certificates.mutual_tls) as served:
        error = await failure(served.completions.Complete(CompleteRequest(), timeout=WAIT_S))

    assert response.model == "fake"
    assert error.code() is grpc.StatusCode.UNAVAILABLE


NOT_PEM = "it must be a PEM file that starts with -----BEGIN CERTIFICATE-----"
NOT_PEM_KEY = "it must be a PEM file with -----BEGIN PRIVATE KEY-----"
DECRYPT = "decrypt it with `openssl pkey -in {}/secret.key -out NEW`"
MOUNT = "correct the path, or mount the folder that holds it"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"tls_cert": "server.key"}, f"--tls-cert: {{}}/server.key holds a private key; {NOT_PEM}"),
        ({"tls_client_ca": "text"}, f"--tls-client-ca: {{}}/text holds no certificate; {NOT_PEM}"),
        ({"tls_key": "text"}, f"--tls-key: {{}}/text holds no usable private key; {NOT_PEM_KEY}"),
        ({"tls_key": "secret.key"}, f"--tls-key: {{}}/secret.key is encrypted; {DECRYPT}"),
        ({"tls_cert": "missing"}, f"--tls-cert: {{}}/missing does not exist; {MOUNT}"),
        ({"tls_key": "."}, "--tls-key: {} is a folder; name a file in it"),
    ],
    ids=["a key", "no certificate", "no key", "an encrypted key", "missing", "a folder"],
)
def test_a_file_that_is_not_what_tls_needs_is_named_with_the_cause(
    certificates: Certificates, files: dict[str, str], sentence: str
) -> None:
    folder = certificates.folder
    (folder / "text").write_text("hello")
    write_encrypted_key(folder, "secret")
    changed = {setting: folder / name for setting, name in files.items()}

    with pytest.raises(StartupError) as caught:
        load_access(Settings.model_validate({**certificates.mutual_tls, **changed}))

    assert str(caught.value) == sentence.replace("{}", str(folder))


def test_a_private_key_of_another_certificate_prevents_the_start(certificates: Certificates) -> None:
    tls = certificates.tls | certificates.tls_key_of_client

    with pytest.raises(
        StartupError, match=r"--tls-key: .*client\.key is not the private key of .*server\.crt; use the"
    ):
        load_access(Settings(**tls))


async def _listed_methods(served: Served) -> set[str]:
    """The methods that reflection lists, except those that need no key."""
    services = await _reflected(served, ServerReflectionRequest(list_services=""))
    methods: set[str] = set()
    for service in services.list_services_response.service:
        files = await _reflected(served, ServerReflectionRequest(file_containing_symbol=service.name))
        for data in files.file_descriptor_response.file_descriptor_proto:
            for described in FileDescriptorProto.FromString(data).service:
                methods.update(f"{service.name}/{method.name}" for method in described.method)
    return methods - OPEN_METHODS


async def _reflected(served: Served, request: ServerReflectionRequest) -> ServerReflectionResponse:
    method = served.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ServerReflectionRequest.SerializeToString,
        ServerReflectionResponse.FromString,
    )
    async for response in method(iter([request]), metadata=bearer(KEY)):
        return response
    raise AssertionError("reflection said nothing")
