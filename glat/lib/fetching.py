"""Fetching one file over HTTP: resumed where it was cut off, checked, and whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
from tqdm import tqdm

from ..config.settings import Fetch
from . import escaping
from .errors import GlatError
from .files import locked, whole
from .redaction import redact

PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another try may not meet
PAUSES = (1, 3, 10)  # seconds before each further try; a try that brought more of the file starts the count anew
LONGEST = 120  # seconds that a server may ask to wait (Retry-After)
LIMITS = Fetch()
TEXT = 200  # characters of what a server says that are told
TIMEOUT = 60  # seconds without an answer, or between two pieces of it
BLOCK = 1 << 16  # bytes; of a block that the line breaks in nothing is kept


def fetch_file(
    address: str,
    path: str | Path,
    sha256: str | None = None,
    md5: str | None = None,
    limits: Fetch = LIMITS,
    setting: str = "its setting",
) -> None:
    """Fetch `address` to `path`. What came of an interrupted try lies beside it as `.<name>.download` and is gone on
    with, where the server confirms that it still has the same file or a checksum will tell. setting: which key of
    params.yaml names it.

    Raises:
        GlatError: no connection, an HTTP error, a web page in place of the file, a redirection to what is not the web, a
            file that is larger or slower than `limits`, a full disk, or another checksum.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.download")
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, f"{path}: another process fetches this file; waiting for it to end") as waited:
        # The lock's file stays: with it removed, one who waits for it and one who makes it anew would both go on.
        if waited and path.exists() and _is(path, sha256, md5):
            return
        _tried(address, path, part, sha256, md5, limits, setting)


def _is(path: Path, sha256: str | None, md5: str | None) -> bool:
    try:
        check_file(path, sha256, md5)
    except GlatError:
        return False
    return True


def _tried(
    address: str, path: Path, part: Path, sha256: str | None, md5: str | None, limits: Fetch, setting: str
) -> None:
    """Fetch with further tries, check, and move into place."""
    tries, most = 0, _size(part)
    end, bytes_ = time.monotonic() + 3600 * limits.max_hours, round(1e9 * limits.max_gigabytes)
    while True:
        wait = 0.0
        try:
            _by(end, lambda: _fetch(address, part, path.name, bool(sha256 or md5), bytes_, end))
            break
        except TimeoutError:
            raise GlatError(
                f"{address}: not there after {limits.max_hours:g} h, {_size(part)} bytes came; they are kept, so run again "
                "to go on, or give it longer (fetch.max_hours)"
            ) from None
        except TooLarge as error:
            _drop(part)
            raise GlatError(
                f"{address}: {error}, more than the {limits.max_gigabytes:g} GB that a fetched file may have; if it is the "
                "right one, raise fetch.max_gigabytes"
            ) from None
        except requests.HTTPError as error:
            response = error.response
            if response.status_code not in PASSING or tries >= len(PAUSES):
                raise GlatError(f"{address}: HTTP {response.status_code} {(response.reason or '')[:TEXT]}") from None
            asked = response.headers.get("Retry-After", "")
            wait = min(float(asked), LONGEST) if asked.isdecimal() else 0.0
        except requests.RequestException as error:
            tries = 0 if _size(part) > most else tries
            most = max(most, _size(part))
            if tries >= len(PAUSES):
                raise GlatError(
                    f"{address}: cannot be fetched ({_short(error)}); check the network, or get the file another way "
                    f"and name its place in params.yaml ({setting})"
                ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free, total = shutil.disk_usage(part.parent).free, _facts(part).get("total")
            needed = f" and {(total - _size(part)) / 1e9:.3g} GB to come" if total else ""
            raise GlatError(
                f"{path}: the disk is full ({free / 1e9:.2f} GB free{needed}); make room and run again: what came is kept"
            ) from None
        time.sleep(min(max(wait, PAUSES[tries]), max(end - time.monotonic(), 0.0)))
        tries += 1
    try:
        check_file(part, sha256, md5, address)
    except GlatError:
        _drop(part)
        raise
    part.replace(path)
    _drop(part)


def check_file(path: str | Path, sha256: str | None = None, md5: str | None = None, name: str | None = None) -> None:
    """Raise GlatError, about `name`, unless a file has these checksums."""
    for algorithm, title, wanted in (("sha256", "SHA-256", sha256), ("md5", "MD5", md5)):
        if wanted and (found := hash_file(path, algorithm)) != wanted.lower():
            raise GlatError(
                f"{name or path}: its {title} is {found}, expected {wanted.lower()}; the file is damaged or another one"
            )


class TooLarge(Exception):
    """How many bytes a file has, or has at least."""


def _by(end: float, work: Callable[[], None]) -> None:
    """Do `work`, and raise TimeoutError where it is not done by `end`: a server that sends a byte a minute is never late
    for the time-out of a socket. What it waits for then is left to end by itself."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
            outcome.append(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(end - time.monotonic(), 0.0))
    if not outcome:
        raise TimeoutError
    if outcome[0] is not None:
        raise outcome[0]


class _Session(requests.Session):
    """Follows a redirection on the web alone, and none from an encrypted connection to an open one."""

    def get_redirect_target(self, response: requests.Response) -> str | None:
        target = super().get_redirect_target(response)
        if target:
            try:
                begun, leads = urlsplit(response.url).scheme, urlsplit(urljoin(response.url, target)).scheme
            except ValueError:  # no address, as http://[bad is none
                begun = leads = ""
            if leads not in ("http", "https") or (begun, leads) == ("https", "http"):
                raise GlatError(
                    f"{response.url}: leads to {target[:TEXT]}, which is not fetched; give the file's own address"
                )
        return target


def _fetch(address: str, part: Path, name: str, checked: bool, most: int, end: float) -> None:
    """One try: the whole file, or what is missing of it if the server still has the file that `part` began.

    checked: whether a checksum will tell a file that was put together of two. most: bytes of it; end: when to stop.
    """
    before, have, known = _facts(part), _size(part), redact(address)
    if before.get("address") != known or not (checked or before["validator"]):
        _drop(part)
        before, have = {}, 0
    headers = {"Accept-Encoding": "identity"}  # compressed on the way, a resumed part would be of other bytes
    if have:
        headers["Range"] = f"bytes={have}-"
        if before["validator"]:
            headers["If-Range"] = before["validator"]
    with _Session() as session, session.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
        start, total = _content_range(response)
        if response.status_code == 416 and have and total == have == before["total"]:
            return  # all of it is there
        resumed = response.status_code == 206 and start == have and total == before.get("total")
        if response.status_code == 416 or (response.status_code == 206 and not resumed):
            if not have:  # nothing was asked for but the whole
                raise requests.ConnectionError(f"the server gave a part of the file, HTTP {response.status_code}")
            _drop(part)  # of another file
            return _fetch(address, part, name, checked, most, end)
        response.raise_for_status()
        if response.status_code not in (200, 206):
            raise GlatError(
                f"{address}: HTTP {response.status_code} {(response.reason or '')[:TEXT]}, which brings no file; give the "
                "file's own address"
            )
        if "text/html" in response.headers.get("Content-Type", "") and not name.endswith((".html", ".htm")):
            raise GlatError(f"{address}: a web page, not the file; open it in a browser to see what it asks for")
        if (coded := response.headers.get("Content-Encoding", "identity").strip().lower()) not in ("", "identity"):
            # A few bytes may unpack to any number of them, and the sizes and checksums are those of the file itself.
            raise GlatError(f"{address}: sent as {coded} although the file itself was asked for; get it another way")
        length = response.headers.get("Content-Length", "")
        if not resumed:
            total = int(length) if length.isdecimal() else None
        if total == 0:
            raise GlatError(f"{address}: an empty file; give another address")
        if (total or 0) > most:
            raise TooLarge(f"{total} bytes")
        if not resumed:
            _drop(part)
            if total is not None:
                _note(part, {"address": known, "validator": _validator(response), "total": total})
        with (
            open(part, "ab" if resumed else "wb") as file,
            tqdm(total=total, initial=file.tell(), desc=name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in response.iter_content(BLOCK):
                if time.monotonic() > end:
                    raise TimeoutError
                if file.tell() + len(block) > most:
                    raise TooLarge(f"more than {most} bytes came")
                file.write(block)
                bar.update(len(block))
    if (got := _size(part)) == 0:
        raise requests.ConnectionError("nothing came")
    if total is not None and got != total:
        raise requests.ConnectionError(f"ended after {got} of {total} bytes")


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the file, as `Content-Range` tells them."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", "").strip())
    return (int(found[1]) if found[1] else None, int(found[2])) if found else (None, None)


def _validator(response: requests.Response) -> str | None:
    """What tells this file from a later one at the same address: a strong ETag, else its date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(part: Path, facts: dict[str, Any]) -> None:
    with whole(_note_of(part)) as file:
        file.write_text(json.dumps(facts))


def _facts(part: Path) -> dict[str, Any]:
    """What is known of the file that `part` began: its address, validator and size; empty where that is nothing."""
    try:
        facts = json.loads(_note_of(part).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and {"address", "validator", "total"} <= facts.keys() else {}


def _drop(part: Path) -> None:
    for path in (part, _note_of(part)):
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def hash_file(path: str | Path, algorithm: str = "sha256") -> str:
    """The SHA-256 (or another hash of hashlib) of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _short(error: Exception) -> str:
    """The innermost cause, without the addresses of objects that the libraries print."""
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    text = " ".join(str(getattr(inner, "reason", None) or inner).split())
    return re.sub(r"^(\w+\(.*?\)|<.*?>): ", "", text)[:200] or type(error).__name__


def is_address(text: str) -> bool:
    """Whether a text is an address on the web and not the path of a file."""
    return text.lower().startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """The name of the file that an address leads to, without its query: `.../a%3Db.pth?download=1` -> `a=b.pth`. It is one
    name whatever the address holds (`escaping.file_name`), and empty where that is none."""
    try:
        path = urlsplit(address).path
    except ValueError:  # http://[bad
        return ""
    return escaping.file_name(unquote(path.rpartition("/")[2], errors="replace"))


def address_hash(address: str) -> str:
    """Eight digits that tell one address from another, for names of what was fetched; a password or a key in it is no
    part of them."""
    return hashlib.sha256(redact(address).encode()).hexdigest()[:8]
