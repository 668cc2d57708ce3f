"""Fetching one file over HTTP: resumed where it was cut off, checked, and whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from tqdm import tqdm

from .errors import GlatError
from .files import locked, whole

PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another try may not meet
PAUSES = (1, 3, 10)  # seconds before each further try; a try that brought more of the file starts the count anew
LONGEST = 120  # seconds that a server may ask to wait (Retry-After)
BLOCK = 1 << 16  # bytes; of a block that the line breaks in nothing is kept


def fetch_file(address: str, path: str | Path, sha256: str | None = None, md5: str | None = None) -> None:
    """Fetch `address` to `path`. What came of an interrupted try lies beside it as `.<name>.download` and is gone on
    with, where the server confirms that it still has the same file or a checksum will tell.

    Raises:
        GlatError: no connection, an HTTP error, a web page in place of the file, a full disk, or another checksum.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.download")
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, f"{path}: another process fetches this file; waiting for it to end") as waited:
        # The lock's file stays: with it removed, one who waits for it and one who makes it anew would both go on.
        if waited and path.exists() and _is(path, sha256, md5):
            return
        _tried(address, path, part, sha256, md5)


def _is(path: Path, sha256: str | None, md5: str | None) -> bool:
    try:
        check_file(path, sha256, md5)
    except GlatError:
        return False
    return True


def _tried(address: str, path: Path, part: Path, sha256: str | None, md5: str | None) -> None:
    """Fetch with further tries, check, and move into place."""
    tries, most = 0, _size(part)
    while True:
        wait = 0.0
        try:
            _fetch(address, part, path.name, bool(sha256 or md5))
            break
        except requests.HTTPError as error:
            response = error.response
            if response.status_code not in PASSING or tries >= len(PAUSES):
                raise GlatError(f"{address}: HTTP {response.status_code} {response.reason}") from None
            asked = response.headers.get("Retry-After", "")
            wait = min(float(asked), LONGEST) if asked.isdecimal() else 0.0
        except requests.RequestException as error:
            tries = 0 if _size(part) > most else tries
            most = max(most, _size(part))
            if tries >= len(PAUSES):
                raise GlatError(
                    f"{address}: cannot be fetched ({_short(error)}); check the network, or get the file another way "
                    f"and name its place in params.yaml"
                ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free, total = shutil.disk_usage(part.parent).free, _facts(part).get("total")
            needed = f" and {(total - _size(part)) / 1e9:.3g} GB to come" if total else ""
            raise GlatError(
                f"{path}: the disk is full ({free / 1e9:.2f} GB free{needed}); make room and run again: what came is kept"
            ) from None
        time.sleep(max(wait, PAUSES[tries]))
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


def _fetch(address: str, part: Path, name: str, checked: bool) -> None:
    """One try: the whole file, or what is missing of it if the server still has the file that `part` began.

    checked: whether a checksum will tell a file that was put together of two.
    """
    before, have = _facts(part), _size(part)
    if before.get("address") != address or not (checked or before["validator"]):
        _drop(part)
        before, have = {}, 0
    headers = {"Accept-Encoding": "identity"}  # compressed on the way, a resumed part would be of other bytes
    if have:
        headers["Range"] = f"bytes={have}-"
        if before["validator"]:
            headers["If-Range"] = before["validator"]
    with requests.get(address, headers=headers, stream=True, timeout=60) as response:
        start, total = _content_range(response)
        if response.status_code == 416 and have and total == have == before["total"]:
            return  # all of it is there
        resumed = response.status_code == 206 and start == have and total == before.get("total")
        if response.status_code == 416 or (response.status_code == 206 and not resumed):
            if not have:  # nothing was asked for but the whole
                raise requests.ConnectionError(f"the server gave a part of the file, HTTP {response.status_code}")
            _drop(part)  # of another file
            return _fetch(address, part, name, checked)
        response.raise_for_status()
        if "text/html" in response.headers.get("Content-Type", "") and not name.endswith((".html", ".htm")):
            raise GlatError(f"{address}: a web page, not the file; open it in a browser to see what it asks for")
        coded = response.headers.get("Content-Encoding", "identity") != "identity"
        length = response.headers.get("Content-Length", "")
        if not resumed:
            total = int(length) if length.isdecimal() and not coded else None
            _drop(part)
            if total is not None:
                _note(part, {"address": address, "validator": _validator(response), "total": total})
        with (
            open(part, "ab" if resumed else "wb") as file,
            tqdm(total=total, initial=file.tell(), desc=name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and (got := _size(part)) != total:
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
    return text.startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """The name of the file that an address leads to, without its query: `.../a%3Db.pth?download=1` -> `a=b.pth`."""
    return Path(unquote(urlsplit(address).path)).name


def address_hash(address: str) -> str:
    """Eight digits that tell one address from another, for names of what was fetched."""
    return hashlib.sha256(address.encode()).hexdigest()[:8]
