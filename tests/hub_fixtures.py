"""A small Hugging Face Hub on loopback, with what the library huggingface_hub asks of one, and a place for large files on
another port, to which it redirects as the real one does."""

import hashlib
import json
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from http_fixtures import Handler, Server, served

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "89abcdef0123456789abcdef0123456789abcdef"


class Hub(Server):
    """Repositories by name, each with commits, each with files; `refs` are branches. The other fields tell it to misbehave."""

    def __init__(self, *given):
        super().__init__(*given)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.refs = {"main": COMMIT}
        self.gated: set[str] = set()
        self.token = "hf_secret_of_the_test"
        self.plain: set[str] = set()  # files that are not in LFS
        self.answers: dict[str, list[tuple[int, dict]]] = {}  # errors in place of a file, or of the "list"
        self.listed: bytes | None = None  # in place of the list
        self.cuts: dict[str, list[int]] = {}  # of each answer to come, how many bytes until the line breaks
        self.wrong: dict[str, list[bytes]] = {}  # content that comes in place of a file's
        self.ranges = True
        self.slow = threading.Event()  # set: a byte now and then
        self.slow_after = 0  # bytes that come at once before
        self.asked: list[tuple[str, str, str | None]] = []  # method, path and Range, of the files
        self.authorized: list[bool] = []  # at the other port, whether a token came along
        self.storage = ""

    def files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        return self.repositories[repository].get(self.refs.get(revision, revision))


class Answers(Handler):
    """What both ports have in common."""

    def answer(self, status: int, headers: dict | None = None, body: bytes = b"") -> None:
        self.head(status, {**(headers or {}), "Content-Length": len(body)})
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        self.answer(status, {"X-Error-Code": code, "X-Error-Message": code})

    def do_HEAD(self):
        self.do_GET()

    def send_file(self, hub: Hub, path: str, content: bytes, headers: dict) -> None:
        asked = self.headers.get("Range")
        hub.asked.append((self.command, path, asked))
        if hub.answers.get(path):
            status, extra = hub.answers[path].pop(0)
            return self.answer(status, extra)
        if hub.wrong.get(path):
            content = hub.wrong[path].pop(0)
        start = int(asked.split("=")[1].split("-")[0]) if asked and hub.ranges else 0
        headers = {**headers, "Accept-Ranges": "bytes", "Content-Length": len(content) - start}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.head(206 if start else 200, headers)
        if self.command == "HEAD":
            return None
        body = content[start:]
        if hub.cuts.get(path):
            body = body[: hub.cuts[path].pop(0)]
            self.close_connection = True
        if hub.slow.is_set():
            self.wfile.write(body[: hub.slow_after])
            body = body[hub.slow_after :]
        while hub.slow.is_set() and body:
            self.wfile.write(body[:1])
            body = body[1:]
            threading.Event().wait(0.05)
        self.wfile.write(body)
        return None


class Front(Answers):
    """/api/datasets/<repository>/revision/<revision> and /datasets/<repository>/resolve/<revision>/<path>; of models,
    /api/models/, with or without the revision, and /<repository>/resolve/."""

    def do_GET(self):
        hub: Hub = self.server
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "datasets"] and parts[4:5] == ["revision"]:
            return self.list("/".join(parts[2:4]), "/".join(parts[5:]))
        if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            return self.resolve(hub, "/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        if parts[:2] == ["api", "models"]:
            return self.list("/".join(parts[2:4]), "/".join(parts[5:]) or "main")
        if parts[2:3] == ["resolve"]:
            return self.resolve(hub, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.fail(404, "EntryNotFound")

    def list(self, repository: str, revision: str) -> None:
        hub: Hub = self.server
        if hub.answers.get("list"):
            status, extra = hub.answers["list"].pop(0)
            return self.answer(status, extra)
        if hub.listed is not None:
            return self.answer(200, {"Content-Type": "application/json"}, hub.listed)
        if repository not in hub.repositories:
            return self.fail(404, "RepoNotFound")
        if (files := hub.files(repository, revision)) is None:
            return self.fail(404, "RevisionNotFound")
        assert parse_qs(urlsplit(self.path).query).get("blobs") or self.path.startswith("/api/models/")
        siblings = [sibling(path, content, path in hub.plain) for path, content in files.items()]
        found = {"id": repository, "sha": hub.refs.get(revision, revision), "siblings": siblings}
        return self.answer(200, {"Content-Type": "application/json"}, json.dumps(found).encode())

    def resolve(self, hub: Hub, repository: str, revision: str, path: str) -> None:
        if repository in hub.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.fail(401, "GatedRepo")
        content = (hub.files(repository, revision) or {}).get(path)
        if content is None:
            return self.fail(404, "EntryNotFound")
        checksum = sibling(path, content, path in hub.plain)
        tag = checksum["lfs"]["sha256"] if "lfs" in checksum else checksum["blobId"]
        known = {"X-Repo-Commit": hub.refs.get(revision, revision), "ETag": f'"{tag}"'}
        if path in hub.plain:
            return self.send_file(hub, path, content, known)
        known |= {"X-Linked-Size": len(content), "X-Linked-Etag": f'"{tag}"'}
        where = f"{hub.storage}/{repository}/{revision}/{path}?X-Amz-Signature=signed_for_you"
        return self.answer(302, {**known, "Location": where})


class Storage(Answers):
    """Files by signed addresses."""

    hub: Hub

    def do_GET(self):
        owner, name, revision, path = unquote(urlsplit(self.path).path).strip("/").split("/", 3)
        self.hub.authorized.append("Authorization" in self.headers)
        self.send_file(self.hub, path, self.hub.files(f"{owner}/{name}", revision)[path], {})


def sibling(path: str, content: bytes, plain: bool) -> dict:
    """A file as the Hub lists it."""
    found = {
        "rfilename": path,
        "size": len(content),
        "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    }
    if not plain:
        found["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
    return found


@contextmanager
def served_hub():
    with served(Front, Hub) as hub, served(type("Here", (Storage,), {"hub": hub})) as storage:
        hub.storage = storage.address
        yield hub


@pytest.fixture
def hub(monkeypatch):
    """A Hub that the library asks, as HF_ENDPOINT has it ask one, without a login. The library reads its environment when it
    is first imported, which another test may have done."""
    from huggingface_hub import constants

    from glat.lib import hub as client

    monkeypatch.setattr(client, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with served_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        yield hub
