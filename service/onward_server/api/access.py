"""Who may connect and call: TLS, API keys, and the refusal to stand open to a network; it does not know any method."""

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from onward_server.api.boundary import Boundary, Context
from onward_server.errors import CredentialsInvalid, StartupError
from onward_server.settings.server import Settings

logger = logging.getLogger(__name__)

_RequestT = TypeVar("_RequestT")
_ResponseT = TypeVar("_ResponseT")

_OPEN_SERVICE = "/grpc.health.v1.Health/"
"""The only service that answers without a key: who watches the process has none."""
_SCHEME = "bearer "


class ApiKeys:
    """The keys that open the server, kept as digests."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def load(cls, path: Path) -> "ApiKeys":
        """Reads one key a line; `#` starts a comment. Raises StartupError, naming the line and never the key."""
        keys: list[str] = []
        for number, line in enumerate(_read(path, "API keys").decode(errors="replace").splitlines(), start=1):
            key = line.partition("#")[0].strip()
            if key and not (key.isascii() and key.isprintable() and " " not in key):
                raise StartupError(f"{path}:{number}: a key is one word of printable ASCII")
            if key:
                keys.append(key)
        if not keys:
            raise StartupError(f"{path} holds no API key; write one a line")
        return cls(keys)

    def __len__(self) -> int:
        return len(self._digests)

    def accept(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether the call shows exactly one credential, and it is one of the keys; takes as long for any key."""
        shown = [value for key, value in metadata if key == "authorization"]
        if len(shown) != 1 or not isinstance(shown[0], str) or not shown[0].lower().startswith(_SCHEME):
            return False
        digest = _digest(shown[0][len(_SCHEME) :].strip())
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the server is protected."""

    credentials: grpc.ServerCredentials | None
    """None: plaintext."""
    api_keys: ApiKeys | None
    """None: anyone who can connect may call."""


def load_access(settings: Settings) -> Access:
    """Reads certificates and keys, and logs what is open. Raises StartupError when too much would be."""
    _refuse_exposure(settings)
    api_keys = ApiKeys.load(settings.api_keys_file) if settings.api_keys_file else None
    access = Access(credentials=_credentials(settings), api_keys=api_keys)
    _log_posture(settings, access)
    return access


class KeyCheck(grpc.aio.ServerInterceptor):
    """Refuses every call without a key, whichever service it is for; only health stays open."""

    def __init__(self, api_keys: ApiKeys, boundary: Boundary) -> None:
        self._api_keys = api_keys
        self._boundary = boundary

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[_RequestT, _ResponseT] | None]"
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[_RequestT, _ResponseT] | None":
        """Gives the call to its handler, or to one that refuses it."""
        method = handler_call_details.method
        if method.startswith(_OPEN_SERVICE) or self._api_keys.accept(handler_call_details.invocation_metadata or ()):
            return await continuation(handler_call_details)
        return self._refusal(method.removeprefix("/"))

    def _refusal(self, method: str) -> "grpc.RpcMethodHandler[_RequestT, _ResponseT]":
        async def refuse(_: object, context: Context) -> None:
            async with self._boundary.call(method, context):
                raise CredentialsInvalid("this server needs an API key: send `authorization: Bearer KEY`")

        # A refusal reads no request and gives no answer, so one kind of handler serves every kind of method.
        return grpc.stream_stream_rpc_method_handler(refuse)


def _refuse_exposure(settings: Settings) -> None:
    if settings.insecure or not settings.listens_beyond_loopback:
        return
    missing: list[str] = []
    if settings.tls_cert is None:
        missing.append("TLS (--tls-cert, --tls-key)")
    if settings.api_keys_file is None and settings.tls_client_ca is None:
        missing.append("API keys (--api-keys-file) or client certificates (--tls-client-ca)")
    if missing:
        raise StartupError(
            f"{settings.listen} is open to the network without {' and '.join(missing)}; set them, listen on 127.0.0.1, "
            "or accept it with --insecure"
        )


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    client_ca = _read(settings.tls_client_ca, "client authorities") if settings.tls_client_ca else None
    pair = (_read(settings.tls_key, "TLS key"), _read(settings.tls_cert, "TLS certificate"))
    return grpc.ssl_server_credentials([pair], root_certificates=client_ca, require_client_auth=client_ca is not None)


def _log_posture(settings: Settings, access: Access) -> None:
    transport = "plaintext" if access.credentials is None else "mutual TLS" if settings.tls_client_ca else "TLS"
    callers = "anyone who can connect" if access.api_keys is None else f"holders of one of {len(access.api_keys)} keys"
    reach = "the network" if settings.listens_beyond_loopback else "this machine"
    is_exposed = settings.listens_beyond_loopback and settings.insecure
    logger.log(
        logging.WARNING if is_exposed else logging.INFO,
        "access: %s reaches %s over %s; %s may call; health answers without a key; reflection is %s",
        reach,
        settings.listen,
        transport,
        callers,
        "on" if settings.reflection else "off",
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"cannot read the {what} file {path}: {error.strerror}") from None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
