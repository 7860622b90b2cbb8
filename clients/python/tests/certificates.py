"""Certificates for tests, made by openssl."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """A self-signed certificate and its key."""

    chain: Path
    key: Path


def make_certificate(folder: Path, name: str = "IP:127.0.0.1", *, days: int = 2) -> Certificate:
    """Makes a self-signed certificate for a name of the kind `IP:...` or `DNS:...`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    stem = name.replace(":", "-")
    made = Certificate(folder / f"{stem}.pem", folder / f"{stem}.key")
    make = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} -subj /CN=localhost"
    more = ["-addext", f"subjectAltName={name}", "-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run([openssl, *make.split(), *more], check=True, capture_output=True)
    return made
