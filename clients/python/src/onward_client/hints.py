"""Advice on failures to connect."""

import re
from collections.abc import Callable
from typing import TypeAlias

import grpc

from onward_client.channels import Destination
from onward_client.errors import APIError
from onward_client.proxies import proxy_for
from onward_client.targets import hosts_of, is_loopback

Hint: TypeAlias = Callable[[Destination], str]


def hint_for(where: Destination | None, failure: APIError) -> str:
    """Returns what the caller can do about a failure; empty if there is nothing to say.

    Args:
        where: The destination; None for a channel of the caller.
        failure: The failure of a call.
    """
    if failure.code is grpc.StatusCode.NOT_FOUND and not failure.message:
        return "the server does not know this service; leave it out to ask for the whole server"
    if "message larger than max" in failure.message:
        return "a message may have at most 16 MiB: send less, or ask for fewer tokens, choices or log probabilities"
    is_connection = failure.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    if where is None or not is_connection or failure.reason:
        return ""
    found = next((hint for pattern, hint in _HINTS if pattern.search(failure.message)), None)
    proxy = _proxy(where)
    if proxy and found in {None, _closed, _no_server}:
        return proxy  # it is the one that closed or refused the connection
    return "; ".join(filter(None, (found(where) if found else "", proxy)))


def _plaintext_server(_: Destination) -> str:
    return (
        "the server does not speak TLS: connect with tls=False (`--insecure` on the command line) if the network "
        "between is trusted, or start the server with `--tls-cert` and `--tls-key`"
    )


def _closed(where: Destination) -> str:
    if where.credentials is None:
        return (
            "the server may expect TLS: connect with tls=True, or with tls=TLS(ca=...) for a private authority "
            "(`--tls-ca` on the command line)"
        )
    return (
        "the server may demand a client certificate that it trusts: connect with tls=TLS(ca=..., cert=..., key=...) "
        "(`--tls-ca`, `--tls-cert` and `--tls-key` on the command line)"
    )


def _untrusted(_: Destination) -> str:
    return (
        "the certificate of the server is not signed by a trusted authority: connect with tls=TLS(ca=...) (`--tls-ca` "
        "on the command line), the PEM file of the authority or of the self-signed certificate"
    )


def _expired(_: Destination) -> str:
    return "the certificate of the server has expired, or a clock is wrong: renew the certificate"


def _other_name(_: Destination) -> str:
    return (
        "the certificate of the server is for another name: use a name of the certificate in the target, or tell it "
        "with channel_options=[('grpc.ssl_target_name_override', NAME)]"
    )


def _bad_files(_: Destination) -> str:
    return "gRPC cannot use the files of tls: check that cert and key belong together"


def _no_grpc(where: Destination) -> str:
    return f"the server on {where.target} does not speak gRPC: check the port; the default of onward is 50051"


def _no_server(where: Destination) -> str:
    return f"no server listens on {where.target}: start it with `onward serve`, or pass the target of another"


def _unknown_host(where: Destination) -> str:
    return f"the host name is unknown: check the spelling of {where.target}; in Docker Compose, use the service's name"


def _proxy(where: Destination) -> str:
    if is_loopback(where.target):
        return ""
    for host in hosts_of(where.target):
        if proxy := proxy_for(host):
            return (
                f"the connection goes through the proxy {proxy.url}, which {proxy.variable} sets; "
                f"to connect directly, add {host} to no_proxy"
            )
    return ""


_CONNECTING = "(?:failed to connect to all addresses|connections to all backends failing).*"
_HINTS: tuple[tuple[re.Pattern[str], Hint], ...] = tuple(
    (re.compile(pattern, re.DOTALL), hint)
    for pattern, hint in (
        ("WRONG_VERSION_NUMBER|HTTP_REQUEST", _plaintext_server),
        ("CERTIFICATE_VERIFY_FAILED: certificate (?:has expired|is not yet valid)", _expired),
        ("CERTIFICATE_VERIFY_FAILED", _untrusted),
        ("Hostname Verification Check failed|is not in peer certificate", _other_name),
        ("Failed to create security handshaker", _bad_files),
        ("Failed parsing HTTP/2|Trying to connect an http1", _no_grpc),
        (_CONNECTING + "(?:Connection refused|No such file or directory)", _no_server),
        (_CONNECTING + "(?:Socket closed|Connection reset|CERTIFICATE_REQUIRED|alert)", _closed),
        ("Domain name not found|DNS resolution failed|errors resolving", _unknown_host),
    )
)
"""Patterns of gRPC's messages about failures to connect, with the advice for each; the first match counts."""
