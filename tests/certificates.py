"""A certificate authority for tests, with one certificate for the server and one for a client."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files in a folder: ca, server and client, each with .crt and .key."""

    folder: Path

    @property
    def tls(self) -> dict[str, Any]:
        """Settings for TLS."""
        return {"tls_cert": self.folder / "server.crt", "tls_key": self.folder / "server.key"}

    @property
    def tls_key_of_client(self) -> dict[str, Any]:
        """A setting that is wrong: the key of another certificate."""
        return {"tls_key": self.folder / "client.key"}

    @property
    def mutual_tls(self) -> dict[str, Any]:
        """Settings for mutual TLS."""
        return {**self.tls, "tls_client_ca": self.folder / "ca.crt"}

    def trusting(self) -> grpc.ChannelCredentials:
        """A client that trusts the authority."""
        return grpc.ssl_channel_credentials(self._read("ca.crt"))

    def with_client(self) -> grpc.ChannelCredentials:
        """A client that trusts the authority and has a certificate of it."""
        return grpc.ssl_channel_credentials(self._read("ca.crt"), self._read("client.key"), self._read("client.crt"))

    def _read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def write_certificates(folder: Path) -> Certificates:
    """Makes all files with openssl; skips the test where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ca", "server", "client"):
        write_certificate(folder, name)
    return Certificates(folder)


def write_certificate(folder: Path, name: str) -> None:
    """Writes NAME.key and NAME.crt: an authority if the name is `ca`, else a certificate of the folder's authority."""
    names = ["-addext", "subjectAltName=IP:127.0.0.1"] if name == "server" else []
    signing = [] if name == "ca" else ["-CA", "ca.crt", "-CAkey", "ca.key"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
    _openssl(folder, "req", "-x509", *_NEW_KEY, *files, "-subj", f"/CN={name}", "-days", "2", *names, *signing)


def write_expired_certificate(folder: Path, name: str) -> None:
    """Writes NAME.key and NAME.crt, which expired yesterday."""
    _openssl(folder, "req", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-signkey", f"{name}.key", "-days", "-1", "-out", f"{name}.crt"
    )


def write_encrypted_key(folder: Path, name: str) -> None:
    """Writes NAME.key: the server's private key, encrypted."""
    _openssl(folder, "pkey", "-in", "server.key", "-out", f"{name}.key", "-aes256", "-passout", "pass:secret")


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


def _openssl(folder: Path, *words: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make certificates with")
    subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)
