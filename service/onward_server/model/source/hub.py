"""Client of the Hugging Face hub, or of the server that HF_ENDPOINT names: commits, file lists and files.

huggingface-hub reads its variables (HF_ENDPOINT, HF_HOME, HF_TOKEN and others) when it is imported. It provides the
token, the HTTP session and the error classes. Transfers are our own: see decision 0025.
"""

import logging
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, quote, urlsplit

import httpx2

from onward_server.errors import HubError, HubUnreachable
from onward_server.file_errors import unreadable
from onward_server.json_value import Json
from onward_server.model.source.remote_file import RemoteFile
from onward_server.version import VERSION

try:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        DeviceCodeError,
        DisabledRepoError,
        GatedRepoError,
        HfHubHTTPError,
        OIDCError,
        RemoteEntryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
        get_session,
        hf_raise_for_status,
        parse_ratelimit_headers,
    )
except ValueError as error:
    raise HubError(
        f"HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT must be integers: {error}; correct or unset them"
    ) from error

_BUSY = {408, 429, 500, 502, 503, 504}
_GIT_HASH, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_MAX_PAGES = 1000
_MAX_TIMEOUT_S = 86_400
_MAX_QUOTED = 300
"""Maximum number of characters that an error quotes from another program."""

# With telemetry, the library asks the hub for a list of programs, and names the one that runs it in each request.
constants.HF_HUB_DISABLE_TELEMETRY = True  # pyright: ignore[reportConstantRedefinition]
# The library's own handler writes plain lines to stderr, which would break a JSON log.
logging.getLogger("huggingface_hub").handlers.clear()
# The clients log the URLs of requests, and those of the CDN hold signatures that give access to gated files.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Bytes of a file as they arrive."""

    start: int
    """Offset of the first byte in the file: the requested one, or 0 if the server ignores ranges."""
    chunks: Iterator[bytes]
    """Raises HubUnreachable if the connection ends early."""


class Hub:
    """A hub, and the cache of what was downloaded from it."""

    def __init__(
        self, *, endpoint: str, cache_folder: Path, is_offline: bool = False, token: str | None = None
    ) -> None:
        """Sends nothing yet.

        Args:
            endpoint: Address without a slash at the end.
            cache_folder: Where the tools of the hub keep repositories.
            is_offline: Whether HF_HUB_OFFLINE is set. The methods that send requests must not be called then.
            token: Token to send; None: the one in HF_TOKEN or in the file that `hf auth login` writes.
        """
        self.endpoint = endpoint
        self.cache_folder = cache_folder
        self.is_offline = is_offline
        self._token = token

    @classmethod
    def from_environment(cls) -> "Hub":
        """The hub, cache folder and offline mode that the variables of huggingface-hub set.

        Raises:
            HubError: A timeout is out of range.
        """
        for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
            seconds: int = getattr(constants, name)
            if not 0 < seconds <= _MAX_TIMEOUT_S:
                raise HubError(f"{name}: {seconds} is outside [1, {_MAX_TIMEOUT_S}] seconds; correct or unset it")
        return cls(
            endpoint=constants.ENDPOINT,
            cache_folder=Path(constants.HF_HUB_CACHE).absolute(),
            is_offline=constants.is_offline_mode(),
        )

    @staticmethod
    def shows_progress_bars() -> bool:
        """Whether the user has not turned progress bars off with HF_HUB_DISABLE_PROGRESS_BARS."""
        return not constants.HF_HUB_DISABLE_PROGRESS_BARS

    def commit_of(self, repo: str, revision: str) -> str:
        """Resolves a branch, tag or commit to the hash of a commit.

        Raises:
            HubError: There is no such repository or revision, or the user may not see it.
        """
        info, _ = self._get_json(f"/api/models/{repo}/revision/{quote(revision, safe='')}", repo, revision)
        match info:
            case {"sha": str(commit)} if _GIT_HASH.fullmatch(commit):
                return commit
            case _:
                raise self._not_a_hub(f"the information about {repo} has no commit")

    def files(self, repo: str, commit: str) -> list[RemoteFile]:
        """Lists all files of a commit.

        Raises:
            HubError: The list cannot be read.
        """
        files: list[RemoteFile] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page_of = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
            path = f"/api/models/{repo}/tree/{commit}?recursive=true&expand=false{page_of}"
            entries, cursor = self._get_json(path, repo, commit)
            if not isinstance(entries, list):
                raise self._not_a_hub(f"the list of the files of {repo} is not a list")
            found = [self._file(repo, entry) for entry in entries if _is_file(entry)]
            files += [file for file in found if file.path.isprintable()]  # they are shown on terminals
            if cursor is None:
                return files
        raise self._not_a_hub(f"the list of the files of {repo} does not end")

    @contextmanager
    def body(self, repo: str, commit: str, path: str, *, start: int = 0) -> Generator[Body]:
        """Asks for a file from byte `start` to its end; the connection is open while the block runs.

        The token goes to the hub only, not to another host to which the hub redirects.

        Raises:
            HubError: The file cannot be downloaded.
        """
        url = f"{self.endpoint}/{repo}/resolve/{commit}/{quote(path)}"
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with (
            self._errors(repo, commit, path),
            _session().stream("GET", url, headers={**self._headers(), **headers}, timeout=_timeout()) as response,
        ):
            hf_raise_for_status(response)
            is_rest = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            chunks = self._chunks(response, repo, commit, path)
            yield Body(start=start if response.status_code == 206 and is_rest else 0, chunks=chunks)

    def _chunks(self, response: httpx2.Response, repo: str, commit: str, path: str) -> Iterator[bytes]:
        with self._errors(repo, commit, path):
            yield from response.iter_bytes()  # a chunk size would drop buffered bytes when the connection is lost

    def _get_json(self, path: str, repo: str, revision: str | None) -> tuple[Json, str | None]:
        """The value, and the cursor of the next page if there is one."""
        with self._errors(repo, revision, None):
            response = _session().get(f"{self.endpoint}{path}", headers=self._headers(), timeout=_timeout())
            hf_raise_for_status(response)
            try:
                value: Json = response.json()
            except ValueError:
                raise self._not_a_hub(f"{path.partition('?')[0]} is not JSON") from None
            # Only the cursor is taken: the URL may be that of another host, which must not get the token.
            following = urlsplit(response.links.get("next", {}).get("url", "")).query
            return value, parse_qs(following).get("cursor", [None])[0]

    def _headers(self) -> Mapping[str, str]:
        """The token and the name of this program."""
        try:
            headers = build_hf_headers(token=self._token, library_name="onward", library_version=VERSION)
        except HfHubHTTPError:  # an OSError, too; raised when the token is refreshed
            raise
        except (OSError, UnicodeDecodeError) as error:
            path = Path(constants.HF_TOKEN_PATH)
            reason = unreadable(path, error) if isinstance(error, OSError) else f"{path} holds no token"
            raise HubError(f"the token cannot be read: {reason}, or set HF_TOKEN") from None
        if not headers.get("authorization", "").isascii():
            raise HubError("HF_TOKEN holds characters that no token has; set it again")
        return headers

    @contextmanager
    def _errors(self, repo: str, revision: str | None, path: str | None) -> Generator[None]:
        """Converts the errors of the library and of the connection."""
        if not urlsplit(self.endpoint).hostname or not self.endpoint.startswith(("http://", "https://")):
            raise HubError(
                f"HF_ENDPOINT: {self.endpoint!r} is not an http or https URL; use one like https://huggingface.co"
            )
        try:
            yield
        except HfHubHTTPError as error:
            raise self._error_of_response(error, repo, revision, path) from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise HubError(f"{self.endpoint} is not a usable URL: {_quoted(error)}; correct HF_ENDPOINT") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise HubUnreachable(
                f"{self._host} cannot be reached: {_reason(error)}; check the network, the proxy and HF_ENDPOINT"
            ) from None
        except httpx2.RequestError as error:
            raise HubUnreachable(f"the connection to {self._host} was lost: {_reason(error)}") from None
        except (OIDCError, DeviceCodeError) as error:
            raise HubError(f"no token for {self._host} can be obtained: {_quoted(error)}") from None

    def _error_of_response(self, error: HfHubHTTPError, repo: str, revision: str | None, path: str | None) -> HubError:
        """The error for a response whose status is not a success."""
        status, said = error.response.status_code, _quoted(error.server_message or "")
        says = f" (the hub says: {said})" if said else ""
        has_token = "authorization" in self._headers()
        match error:
            case GatedRepoError():
                whose = "use a token of" if has_token else "set HF_TOKEN to a token of"
                sentence = (
                    f"{repo} is gated: accept its terms at {self.endpoint}/{repo}, and {whose} that account{says}"
                )
            case RevisionNotFoundError():
                sentence = f"{repo} has no revision {revision}; {self._revisions(repo)}"
            case RemoteEntryNotFoundError():
                sentence = f"{repo} has no file {path} at commit {revision}; pull it again{says}"
            case DisabledRepoError():
                sentence = f"{repo} is disabled{says}"
            case _ if status in _BUSY:
                wait_s = _retry_after_s(error.response)
                return HubUnreachable(
                    f"{self._host} is busy, status {status}{says}", is_busy=True, retry_after_s=wait_s
                )
            case _ if status == 401 and "Invalid credentials" in said:
                sentence = f"{self._host} rejects the token; set HF_TOKEN to a valid one, or unset it"
            case _ if status in {401, 404}:
                remedy = "" if has_token else ", or set HF_TOKEN if it is private"
                sentence = f"{self._host} has no repository {repo} that you may read; correct the name{remedy}"
            case _ if status == 403:
                sentence = f"{self._host} forbids reading {repo}; use a token that may read it{says}"
            case _:
                sentence = f"{self._host} responds with status {status} to a request for {path or repo}{says}"
        return HubError(sentence)

    def _revisions(self, repo: str) -> str:
        """Names the branches and tags of a repository."""
        try:
            refs, _ = self._get_json(f"/api/models/{repo}/refs", repo, None)
        except HubError:
            refs = None
        match refs:
            case {"branches": [*branches], "tags": [*tags]}:
                names = [str(ref["name"]) for ref in (*branches, *tags) if isinstance(ref, dict) and "name" in ref]
            case _:
                names = []
        if not names:
            return "name one of its branches, tags or commits"
        return f"its branches and tags are {', '.join(names[:20])}{' and others' if len(names) > 20 else ''}"

    def _file(self, repo: str, entry: Json) -> RemoteFile:
        match entry:
            case {"path": str(path), "size": int(size), "lfs": {"oid": str(digest)}} if _SHA256.fullmatch(digest):
                pass
            case {"path": str(path), "size": int(size), "oid": str(digest)} if _GIT_HASH.fullmatch(digest):
                pass
            case _:
                raise self._not_a_hub(f"the list of the files of {repo} has an entry without path, size or hash")
        parts = PurePosixPath(path).parts
        if size < 0 or not parts or "\0" in path or ".." in parts or PurePosixPath(path).is_absolute():
            raise self._not_a_hub(f"the list of the files of {repo} has {path!r} with {size} bytes")
        return RemoteFile(path=path, num_bytes=size, digest=digest)

    def _not_a_hub(self, reason: str) -> HubError:
        return HubError(f"{self.endpoint} does not respond like a Hugging Face hub: {reason}; check HF_ENDPOINT")

    @property
    def _host(self) -> str:
        return urlsplit(self.endpoint).netloc


def _is_file(entry: Json) -> bool:
    return not isinstance(entry, dict) or entry.get("type", "file") == "file"


def _retry_after_s(response: httpx2.Response) -> float | None:
    limit = parse_ratelimit_headers(response.headers)
    if limit is not None and not limit.remaining:
        return float(limit.reset_in_seconds)
    asked = response.headers.get("Retry-After", "").strip()
    return float(asked) if asked.isdecimal() else None


def _session() -> httpx2.Client:
    """The client of the library, which reads the proxies and certificates of the environment when it is made."""
    try:
        return get_session()
    except (ImportError, OSError, ValueError) as error:
        raise HubError(f"no request can be made: {_quoted(error)}; check HTTPS_PROXY and SSL_CERT_FILE") from None


def _timeout() -> httpx2.Timeout:
    """How long to wait for a connection, and for the next byte."""
    return httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=constants.HF_HUB_ETAG_TIMEOUT)


def _reason(error: Exception) -> str:
    return _quoted(error) or type(error).__name__


def _quoted(text: object) -> str:
    """The text of another program on one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in str(text))
    line = " ".join(line.split())
    return line if len(line) <= _MAX_QUOTED else f"{line[:_MAX_QUOTED]}…"
