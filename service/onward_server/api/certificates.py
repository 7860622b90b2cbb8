"""The TLS certificate of the server, its key, and the authorities of client certificates."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from onward_server.api.watched import Watched
from onward_server.errors import StartupError
from onward_server.file_errors import unreadable

logger = logging.getLogger(__name__)

_EXPIRED, _NOT_YET_VALID = 10, 9
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID."""
_HANDSHAKE_FLIGHTS = 3
_READ_TRIALS = 3
"""Maximum number of attempts to read files that change while they are being read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the server presents to clients, and whom it trusts."""

    certificate: bytes
    """PEM: the chain, the server's own certificate first."""
    key: bytes
    """PEM."""
    client_ca: bytes | None
    """PEM. None: clients need no certificate."""

    @classmethod
    def read(cls, certificate: Path, key: Path, client_ca: Path | None) -> "Identity":
        """Reads and checks the files.

        Raises:
            StartupError: A file cannot be read, is not PEM, or the key belongs to another certificate.
        """
        for _ in range(_READ_TRIALS):
            found = cls._of_files(certificate, key, client_ca)
            found.check(certificate, key, client_ca)
            if found == cls._of_files(certificate, key, client_ca):  # then ssl has read the same
                return found
        raise StartupError(f"--tls-cert: {certificate} and {key} changed while they were being read; start again")

    @classmethod
    def _of_files(cls, certificate: Path, key: Path, client_ca: Path | None) -> "Identity":
        return cls(
            certificate=_read(certificate, "--tls-cert"),
            key=_read(key, "--tls-key"),
            client_ca=None if client_ca is None else _read(client_ca, "--tls-client-ca"),
        )

    def check(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Checks the identity that these files hold. Raises StartupError, and warns of an expired certificate."""
        _require_certificates(self.certificate, certificate, "--tls-cert")
        if self.client_ca is not None and client_ca is not None:
            _require_certificates(self.client_ca, client_ca, "--tls-client-ca")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, _KeyIsEncrypted) as error:
            raise StartupError(_key_problem(error, certificate, key)) from None
        _warn_if_expired(context, self.certificate, certificate)

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Returns the identity in gRPC's form."""
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], root_certificates=self.client_ca
        )


class Certificates:
    """The files of an identity. Each new connection gets the identity that they hold at that moment."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Reads and checks the files; raises StartupError as `Identity.read` does."""
        paths = [certificate, key, *([] if client_ca is None else [client_ca])]
        self._identity = Watched("TLS certificates", paths, lambda: Identity.read(certificate, key, client_ca))
        self._given = self._identity.last
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._given.configuration(),
            self._changed,  # pyright: ignore[reportArgumentType]  gRPC documents None, its stub does not
            require_client_authentication=client_ca is not None,
        )

    def reload(self) -> None:
        """Reads the files now. If they are unusable, logs why and keeps the previous identity."""
        self._identity.reload()

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The identity for a new connection; None if gRPC has it already. A thread of gRPC calls this."""
        identity = self._identity.current()
        if identity is self._given:
            return None
        self._given = identity
        return identity.configuration()


class _KeyIsEncrypted(Exception):
    pass


def _no_password() -> str:
    """Called for an encrypted key. Without it, OpenSSL would ask for a password on the terminal."""
    raise _KeyIsEncrypted


def _read(path: Path, flag: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{flag}: {unreadable(path, error)}") from None


def _require_certificates(pem: bytes, path: Path, flag: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", errors="replace"))
    except ssl.SSLError:
        what = "a private key" if b"PRIVATE KEY-----" in pem and b"BEGIN CERT" not in pem else "no certificate"
        raise StartupError(
            f"{flag}: {path} holds {what}; it must be a PEM file that starts with -----BEGIN CERTIFICATE-----"
        ) from None


def _key_problem(error: Exception, certificate: Path, key: Path) -> str:
    if isinstance(error, _KeyIsEncrypted):
        return f"--tls-key: {key} is encrypted; decrypt it with `openssl pkey -in {key} -out NEW`"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"--tls-key: {key} is not the private key of {certificate}; use the key that the certificate was made with"
        )
    return f"--tls-key: {key} holds no usable private key; it must be a PEM file with -----BEGIN PRIVATE KEY-----"


def _warn_if_expired(server: ssl.SSLContext, pem: bytes, path: Path) -> None:
    """Warns of an expired certificate. `ssl` cannot read its dates, so a client that trusts it connects in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=pem.decode("ascii", errors="replace"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(_HANDSHAKE_FLIGHTS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                if error.verify_code in {_EXPIRED, _NOT_YET_VALID}:
                    logger.warning(
                        "--tls-cert: %s: %s; clients will reject it until it is renewed", path, error.verify_message
                    )
                return
            except ssl.SSLError:
                return  # gRPC may accept what OpenSSL does not
