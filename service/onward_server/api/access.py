"""Access control: TLS, API keys, and the check that a server on a network has both."""

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
from onward_server.api.certificates import Certificates
from onward_server.api.watched import Watched
from onward_server.errors import CredentialsInvalid, StartupError
from onward_server.file_errors import unreadable
from onward_server.settings.server import Settings

logger = logging.getLogger(__name__)

_RequestT = TypeVar("_RequestT")
_ResponseT = TypeVar("_ResponseT")

_OPEN_SERVICE = "/grpc.health.v1.Health/"
"""The only service that needs no key: process supervisors and load balancers have none."""
_SCHEME = "bearer "


class ApiKeys:
    """The accepted API keys, stored as digests."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def load(cls, path: Path) -> "ApiKeys":
        """Reads one key per line; `#` starts a comment. Raises StartupError, which names the line but not the key."""
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise StartupError(f"--api-keys-file: {unreadable(path, error)}") from None
        keys: list[str] = []
        for number, line in enumerate(text.splitlines(), start=1):
            key = line.partition("#")[0].strip()
            if key and not (key.isascii() and key.isprintable() and " " not in key):
                raise StartupError(f"{path}:{number}: not an API key; a key is printable ASCII without spaces")
            if key:
                keys.append(key)
        if not keys:
            raise StartupError(f"{path} has no API key; write one per line")
        return cls(keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiKeys) and self._digests == other._digests

    __hash__ = None  # type: ignore[assignment]  compared by value

    def __len__(self) -> int:
        return len(self._digests)

    def accept(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether the only credential in the metadata is an accepted key. Takes the same time for every key."""
        given = [value for key, value in metadata if key == "authorization"]
        if len(given) != 1 or not isinstance(given[0], str) or not given[0].lower().startswith(_SCHEME):
            return False
        digest = _digest(given[0][len(_SCHEME) :].strip())
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The TLS identity and the API keys of the server. Changes of their files take effect at once."""

    certificates: Certificates | None
    """None: plaintext."""
    api_keys: Watched[ApiKeys] | None
    """None: everyone who can connect may call."""

    @property
    def credentials(self) -> grpc.ServerCredentials | None:
        """The certificates as gRPC takes them."""
        return None if self.certificates is None else self.certificates.credentials

    def reload(self) -> None:
        """Reads the files again. If one is unusable, logs why and keeps the previous value."""
        if self.certificates is not None:
            self.certificates.reload()
        if self.api_keys is not None:
            self.api_keys.reload()


def load_access(settings: Settings) -> Access:
    """Reads certificates and keys, and logs who has access.

    Raises:
        StartupError: A file cannot be read, or the server would be open to a network without protection.
    """
    _check_exposure(settings)
    access = Access(certificates=_certificates(settings), api_keys=_api_keys(settings.api_keys_file))
    _log_access(settings, access)
    return access


class KeyCheck(grpc.aio.ServerInterceptor):
    """Rejects calls without a valid API key, except those of the health service."""

    def __init__(self, api_keys: Watched[ApiKeys], boundary: Boundary) -> None:
        """Takes the accepted keys, and the boundary that ends rejected calls."""
        self._api_keys = api_keys
        self._boundary = boundary

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[_RequestT, _ResponseT] | None]"
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[_RequestT, _ResponseT] | None":
        """Returns the handler of the call, or one that rejects it."""
        method = handler_call_details.method
        if method.startswith(_OPEN_SERVICE):
            return await continuation(handler_call_details)
        if self._api_keys.current().accept(handler_call_details.invocation_metadata or ()):
            return await continuation(handler_call_details)
        return self._rejection(method.removeprefix("/"))

    def require(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Raises CredentialsInvalid if the metadata of a call has no valid key."""
        if not self._api_keys.current().accept(metadata or ()):
            raise CredentialsInvalid("the call has no valid API key; send the metadata `authorization: Bearer KEY`")

    def _rejection(self, method: str) -> "grpc.RpcMethodHandler[_RequestT, _ResponseT]":
        async def reject(_: object, context: Context) -> None:
            async with self._boundary.call(method, context):
                self.require(context.invocation_metadata())

        # It reads no request and sends no response, so one kind of handler fits every kind of method.
        return grpc.stream_stream_rpc_method_handler(reject)


def _check_exposure(settings: Settings) -> None:
    if settings.insecure or not settings.listens_beyond_loopback:
        return
    missing: list[str] = []
    if settings.tls_cert is None:
        missing.append("TLS (--tls-cert, --tls-key)")
    if settings.api_keys_file is None and settings.tls_client_ca is None:
        missing.append("API keys (--api-keys-file) or client certificates (--tls-client-ca)")
    if missing:
        raise StartupError(
            f"--listen: {settings.listen} is open to the network without {' and '.join(missing)}; set them, listen on "
            "127.0.0.1, or accept the risk with --insecure"
        )


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _api_keys(path: Path | None) -> Watched[ApiKeys] | None:
    return None if path is None else Watched("API keys", [path], lambda: ApiKeys.load(path))


def _log_access(settings: Settings, access: Access) -> None:
    transport = "plaintext" if access.certificates is None else "mutual TLS" if settings.tls_client_ca else "TLS"
    callers = (
        "everyone who can connect" if access.api_keys is None else f"holders of one of {len(access.api_keys.last)} keys"
    )
    reach = "the network" if settings.listens_beyond_loopback else "this machine"
    is_exposed = settings.listens_beyond_loopback and settings.insecure
    logger.log(
        logging.WARNING if is_exposed else logging.INFO,
        "access: %s can connect to %s over %s; %s may call; health needs no key; reflection is %s",
        reach,
        settings.listen,
        transport,
        callers,
        "on" if settings.reflection else "off",
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
