"""A server on loopback that speaks the part of the Hugging Face Hub's protocol that a download needs.

It has two hosts, as the hub has: one for the API and small files, and one to which it redirects for large files. Faults
are data: each applies to the requests whose path it names, as often as it says.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub_faults import Corrupt, Cut, Fault, Host, Move, NoRange, Request, Respond, Stall, applies, is_large
from tests.waiting import WAIT_S


@dataclass(slots=True, kw_only=True)
class _Repository:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict[str, dict[str, bytes]])
    branches: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    gated: bool = False
    token: str | None = None
    """The token that may read the files of a gated repository."""

    def commit_of(self, revision: str) -> str | None:
        found = self.branches.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.commits else None)


class LookAlikeHub:
    """Repositories, faults, and the requests that arrived. Its methods may be called while it serves."""

    def __init__(self) -> None:
        """Starts without repositories, on two free ports."""
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.page_size = 1000
        """Entries in one page of a file list."""
        self.is_stalled = False
        """Whether a body has stalled."""
        self._repositories: dict[str, _Repository] = {}
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._hub, self._cdn = self._listen("hub"), self._listen("cdn")

    @property
    def url(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._hub.server_address[1]}"

    @property
    def cdn_url(self) -> str:
        """Where the hub redirects for large files."""
        return f"http://127.0.0.1:{self._cdn.server_address[1]}"

    def commit(self, repo: str, files: Mapping[str, bytes], *, branch: str = "main", tag: str | None = None) -> str:
        """Makes a commit of these files, moves the branch there, and returns the commit's hash."""
        repository = self._repositories.setdefault(repo, _Repository())
        digest = hashlib.sha1(f"{repo} {len(repository.commits)}".encode(), usedforsecurity=False)
        commit = digest.hexdigest()
        repository.commits[commit] = dict(files)
        repository.branches[branch] = commit
        if tag is not None:
            repository.tags[tag] = commit
        return commit

    def gate(self, repo: str, *, token: str) -> None:
        """Lets only this token read the files of a repository."""
        self._repositories[repo].gated = True
        self._repositories[repo].token = token

    def wait_until(self, predicate: Callable[["LookAlikeHub"], bool]) -> None:
        """Returns once the predicate holds; it is asked again after each request and each stall.

        Raises:
            AssertionError: It did not hold within `WAIT_S`.
        """
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self), WAIT_S), [r.path for r in self.requests]

    def release(self) -> None:
        """Lets stalled bodies continue."""
        self._released.set()

    def requests_of(self, end: str) -> list[Request]:
        """The requests whose path has this end."""
        return [request for request in self.requests if request.path.endswith(end)]

    def close(self) -> None:
        """Stops listening."""
        self.release()
        for server in (self._hub, self._cdn):
            server.shutdown()
            server.server_close()

    def _listen(self, host: Host) -> ThreadingTCPServer:
        look_alike = self

        class Handler(_Handler):
            hub = look_alike

        Handler.host = host
        server = ThreadingTCPServer(("127.0.0.1", 0), Handler)  # HTTPServer looks up the name of the address
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    # What follows is called by the handlers.

    def arrived(self, request: Request) -> list[Fault]:
        """Notes a request, and returns the faults that apply to it."""
        with self._changed:
            self.requests.append(request)
            faults = [fault for fault in self.faults if applies(fault, request)][:1]
            for fault in faults:
                self.faults.remove(fault)
                if fault.times > 1:
                    self.faults.append(replace(fault, times=fault.times - 1))
            for fault in faults:
                if isinstance(fault, Move):
                    self.commit(fault.repo, fault.files)
            self._changed.notify_all()
        return faults

    def stall(self) -> None:
        """Blocks until released."""
        with self._changed:
            self.is_stalled = True
            self._changed.notify_all()
        self._released.wait(WAIT_S)

    def repository(self, repo: str) -> "_Repository | None":
        """The repository with this name."""
        return self._repositories.get(repo)

    def content(self, sha256: str) -> bytes:
        """The large file with this hash."""
        for repository in self._repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == sha256:
                        return content
        raise KeyError(sha256)


@contextmanager
def look_alike_hub() -> Generator[LookAlikeHub]:
    """Runs a hub while the block runs."""
    hub = LookAlikeHub()
    try:
        yield hub
    finally:
        hub.close()


def blob_id(content: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _tree_entry(path: str, content: bytes) -> Mapping[str, object]:
    if not is_large(path):
        return {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
    sha256 = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
    lfs = {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}
    return {"type": "file", "path": path, "size": len(content), "oid": blob_id(pointer), "lfs": lfs}


class _Handler(BaseHTTPRequestHandler):
    """One connection to one of the two hosts."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each response takes 40 ms
    hub: LookAlikeHub
    host: Host

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Writes nothing."""

    def do_HEAD(self) -> None:
        """Like GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Serves one request with the faults that apply to it."""
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(host=self.host, method=self.command, path=unquote(url.path), headers=headers)
        faults = self.hub.arrived(request)
        for fault in faults:
            if isinstance(fault, Respond):
                self._send(fault.status, fault.body, fault.headers)
                return
        if self.host == "cdn":
            self._send_file(request, self.hub.content(request.path.split("/")[3]), {}, faults)
        else:
            self._route(request, url.path, parse_qs(url.query), faults)

    def _route(self, request: Request, path: str, query: Mapping[str, Sequence[str]], faults: Sequence[Fault]) -> None:
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["api", "models", owner, name]:
                self._send_info(f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "revision", revision]:
                self._send_info(f"{owner}/{name}", revision)
            case ["api", "models", owner, name, "tree", revision]:
                self._send_tree(f"{owner}/{name}", revision, int(query.get("cursor", ["0"])[0]))
            case ["api", "models", owner, name, "refs"]:
                self._send_refs(f"{owner}/{name}")
            case [owner, name, "resolve", revision, *parts] if parts:
                self._resolve(request, f"{owner}/{name}", revision, "/".join(parts), faults)
            case _:
                self._send(404, b"Not Found", {})

    def _commit(self, repo: str, revision: str) -> tuple[_Repository, str] | None:
        """The repository and the commit; sends an error and returns None if one of them is missing."""
        repository = self.hub.repository(repo)
        if repository is None:
            refused = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self._send(401, json.dumps({"error": "Invalid username or password."}).encode(), refused)
            return None
        commit = repository.commit_of(revision)
        if commit is None:
            message = f"Invalid rev id: {revision}"
            self._send(
                404,
                json.dumps({"error": message}).encode(),
                {"X-Error-Code": "RevisionNotFound", "X-Error-Message": message},
            )
            return None
        return repository, commit

    def _send_info(self, repo: str, revision: str) -> None:
        if found := self._commit(repo, revision):
            repository, commit = found
            siblings = [{"rfilename": path} for path in repository.commits[commit]]
            self._send_json({"id": repo, "sha": commit, "gated": repository.gated, "siblings": siblings})

    def _send_tree(self, repo: str, revision: str, cursor: int) -> None:
        if found := self._commit(repo, revision):
            repository, commit = found
            folders = sorted({path.rpartition("/")[0] for path in repository.commits[commit] if "/" in path})
            entries = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders]
            entries += [_tree_entry(path, content) for path, content in repository.commits[commit].items()]
            end = cursor + self.hub.page_size
            headers: dict[str, str] = {}
            if end < len(entries):
                url = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={end}"
                headers["Link"] = f'<{url}>; rel="next"'
            self._send_json(entries[cursor:end], headers)

    def _send_refs(self, repo: str) -> None:
        repository = self.hub.repository(repo)
        assert repository is not None
        named = {"branches": repository.branches, "tags": repository.tags}
        self._send_json(
            {kind: [{"name": n, "ref": n, "targetCommit": c} for n, c in refs.items()] for kind, refs in named.items()}
            | {"converts": []}
        )

    def _resolve(self, request: Request, repo: str, revision: str, path: str, faults: Sequence[Fault]) -> None:
        if not (found := self._commit(repo, revision)):
            return
        repository, commit = found
        allowed = repository.token is None or request.headers.get("authorization") == f"Bearer {repository.token}"
        if repository.gated and not allowed:
            message = f"Access to model {repo} is restricted. You must have access to it and be authenticated."
            status = 403 if "authorization" in request.headers else 401
            self._send(status, message.encode(), {"X-Error-Code": "GatedRepo", "X-Error-Message": message})
            return
        content = repository.commits[commit].get(path)
        if content is None:
            self._send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit}
        if is_large(path):
            sha256 = hashlib.sha256(content).hexdigest()
            headers |= {
                "X-Linked-Etag": f'"{sha256}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{self.hub.cdn_url}/{quote(repo)}/{sha256}/{quote(path)}?signature=1",
            }
            self._send(302, b"", headers)
        else:
            self._send_file(request, content, {**headers, "ETag": f'"{blob_id(content)}"'}, faults)

    def _send_file(self, request: Request, content: bytes, headers: Mapping[str, str], faults: Sequence[Fault]) -> None:
        start, end = request.start, len(content)
        if any(isinstance(fault, NoRange) or (isinstance(fault, Cut) and fault.ignores_range) for fault in faults):
            start = 0
        if any(isinstance(fault, Corrupt) for fault in faults):
            content = content[:-1] + bytes([content[-1] ^ 1])
        end = min([end, *(start + fault.after for fault in faults if isinstance(fault, Cut | Stall))])
        if start and start >= len(content):
            self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        content_range = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        for name, value in {**headers, **content_range, "Content-Length": str(len(content) - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[start:end])
        self.wfile.flush()
        if any(isinstance(fault, Stall) for fault in faults):
            self.hub.stall()
            self.wfile.write(content[end:])
        elif end < len(content):
            self.close_connection = True

    def _send_json(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
