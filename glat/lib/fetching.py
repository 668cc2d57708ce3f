"""Fetching one file over HTTP: resumed where it was cut off, checked, and whole or absent.

pooch, the usual library for it, begins a file anew after each interruption and bounds neither its size nor its time, so
requests and urllib3's Retry are used here.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util.retry import Retry

from .addresses import LIMITS, Limits
from .errors import GlatError
from .files import locked
from .part import Part
from .redaction import redact

PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another try may not meet
PAUSES = (1, 3, 10)  # seconds before each further try; one that brought more of the file starts the count anew
LONGEST = 120  # seconds that a server may ask to wait (Retry-After)
TEXT = 200  # characters of a server's words that an error quotes
TIMEOUT = 60  # seconds without an answer, or between two pieces of it
BLOCK = 1 << 16  # bytes; nothing is kept of an interrupted block


def fetch_file(
    address: str,
    path: str | Path,
    sha256: str | None = None,
    md5: str | None = None,
    limits: Limits = LIMITS,
    setting: str = "its setting",
) -> None:
    """Fetch `address` to `path`. What came of an interrupted try lies beside it as `.<name>.download` and is resumed where
    the server confirms that it still has the same file, or a checksum will tell. setting: the key of params.yaml that
    names it.

    Raises:
        GlatError: no connection, an HTTP error, a web page in place of the file, a redirection to what is not the web, a
            file that is larger or slower than `limits`, a full disk, or another checksum.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, f"{path}: another process fetches this file; waiting for it to end") as waited:
        # The lock's file stays: with it removed, one who waits for it and one who makes it anew would both go on.
        if waited and path.exists():
            with suppress(GlatError):
                check_file(path, sha256, md5)
                return
        _complete(address, path, sha256, md5, limits, setting)


def _complete(address: str, path: Path, sha256: str | None, md5: str | None, limits: Limits, setting: str) -> None:
    """Fetch with further tries, check, and move into place."""
    part = Part(path)
    tries, most = 0, part.size
    end, bytes_ = time.monotonic() + 3600 * limits.max_hours, round(1e9 * limits.max_gigabytes)
    while True:
        try:
            _run_until(end, lambda: _fetch(address, part, path.name, bool(sha256 or md5), bytes_, end))
            break
        except TimeoutError:
            raise GlatError(
                f"{address}: not there after {limits.max_hours:g} h, {part.size} bytes came; they are kept, so run again "
                "to go on, or give it longer (fetch.max_hours)"
            ) from None
        except TooLarge as error:
            part.drop()
            raise GlatError(
                f"{address}: {error}, more than the {limits.max_gigabytes:g} GB that a fetched file may have; if it is the "
                "right one, raise fetch.max_gigabytes"
            ) from None
        except requests.HTTPError as error:
            status, reason = error.response.status_code, error.response.reason or ""
            raise GlatError(f"{address}: HTTP {status} {reason[:TEXT]}") from None
        except requests.RequestException as error:
            tries = 0 if part.size > most else tries
            most = max(most, part.size)
            if tries >= len(PAUSES):
                raise GlatError(
                    f"{address}: cannot be fetched ({_cause(error)}); check the network, or get the file another way "
                    f"and name its place in params.yaml ({setting})"
                ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free, total = shutil.disk_usage(path.parent).free, part.facts().get("total")
            needed = f" and {(total - part.size) / 1e9:.3g} GB to come" if total else ""
            full = f"the disk is full ({free / 1e9:.2f} GB free{needed})"
            raise GlatError(f"{path}: {full}; make room and run again: what came is kept") from None
        time.sleep(min(PAUSES[tries], max(end - time.monotonic(), 0.0)))
        tries += 1
    try:
        check_file(part.path, sha256, md5, address)
    except GlatError:
        part.drop()
        raise
    part.path.replace(path)
    part.drop()


def check_file(path: str | Path, sha256: str | None = None, md5: str | None = None, name: str | None = None) -> None:
    """Raise `WrongChecksum`, about `name`, unless a file has these checksums."""
    for algorithm, title, wanted in (("sha256", "SHA-256", sha256), ("md5", "MD5", md5)):
        if wanted and (found := hash_file(path, algorithm)) != wanted.lower():
            what = f"its {title} is {found}, expected {wanted.lower()}"
            raise WrongChecksum(f"{name or path}: {what}; the file is damaged or another one")


class WrongChecksum(GlatError):
    """A file that is not the one that a checksum was given for."""


def file_size(address: str) -> int | None:
    """Bytes of the file at an address, without fetching it; None where its server does not tell."""
    found: list[int] = []

    def ask() -> None:
        headers = {"Accept-Encoding": "identity"}
        with (
            _Session() as session,
            session.head(address, headers=headers, allow_redirects=True, timeout=TIMEOUT) as response,
        ):
            length = response.headers.get("Content-Length", "")
            if response.status_code == 200 and length.isdecimal() and int(length):
                found.append(int(length))

    with suppress(TimeoutError, requests.RequestException):
        _run_until(time.monotonic() + TIMEOUT, ask)
    return found[0] if found else None


class TooLarge(Exception):
    """How many bytes a file has, or has at least."""


def _run_until(end: float, work: Callable[[], None]) -> None:
    """Run `work`, and raise TimeoutError if it has not finished by `end`: a server that sends a byte a minute never trips a
    socket's time-out. The thread is then left to end by itself."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(end - time.monotonic(), 0.0))
    if not outcome:
        raise TimeoutError
    if outcome[0] is not None:
        raise outcome[0]


class _Session(requests.Session):
    """Asks a busy server again, after the time that it asks for, and follows a redirection on the web alone: none from an
    encrypted connection to an open one."""

    def __init__(self) -> None:
        super().__init__()
        again = Retry(
            connect=0,
            read=False,
            status=len(PAUSES),
            status_forcelist=PASSING,
            backoff_factor=max(PAUSES[:1], default=0),
            retry_after_max=LONGEST,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=again))

    def get_redirect_target(self, response: requests.Response) -> str | None:
        target = super().get_redirect_target(response)
        if target:
            try:
                begun, leads = urlsplit(response.url).scheme, urlsplit(urljoin(response.url, target)).scheme
            except ValueError:  # no address, as http://[bad is none
                begun = leads = ""
            if leads not in ("http", "https") or (begun, leads) == ("https", "http"):
                where = f"leads to {target[:TEXT]}, which is not fetched"
                raise GlatError(f"{response.url}: {where}; give the file's own address")
        return target


def _fetch(address: str, part: Part, name: str, checked: bool, most: int, end: float) -> None:
    """One try: the whole file, or what is missing of it if the server still has the file that `part` began.

    checked: whether a checksum will tell a file that was put together of two. most: bytes of it; end: when to stop.
    """
    before, have, known = part.facts(), part.size, redact(address)
    if before.get("address") != known or not (checked or before["validator"]):
        part.drop()
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
        # A server that ignores If-Range may give the rest of a later file; one that gives no validator is believed.
        resumed = resumed and (checked or _validator(response) in (None, before["validator"]))
        if response.status_code == 416 or (response.status_code == 206 and not resumed):
            if not have:  # nothing was asked for but the whole
                raise requests.ConnectionError(f"the server gave a part of the file, HTTP {response.status_code}")
            part.drop()  # of another file
            _fetch(address, part, name, checked, most, end)
            return
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
            part.drop()
            if total is not None:
                part.note(known, _validator(response), total)
        with (
            open(part.path, "ab" if resumed else "wb") as file,
            tqdm(total=total, initial=file.tell(), desc=name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in response.iter_content(BLOCK):
                if time.monotonic() > end:
                    raise TimeoutError
                if file.tell() + len(block) > most:
                    raise TooLarge(f"more than {most} bytes came")
                file.write(block)
                bar.update(len(block))
    if (got := part.size) == 0:
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


def hash_file(path: str | Path, algorithm: str = "sha256") -> str:
    """The SHA-256 (or another hash of hashlib) of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _cause(error: Exception) -> str:
    """The innermost cause, without the addresses of objects that the libraries print."""
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    text = " ".join(str(getattr(inner, "reason", None) or inner).split())
    return re.sub(r"^(\w+\(.*?\)|<.*?>): ", "", text)[:200] or type(error).__name__
