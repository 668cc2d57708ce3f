"""Fetching one file over HTTP: resumed where it was cut off, checked, and whole or absent."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import time
from pathlib import Path

import requests
from tqdm import tqdm

from .errors import GlatError

PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another try may not meet
PAUSES = (1, 3, 10)  # seconds before each further try
BLOCK = 1 << 20


def fetch_file(address: str, path: str | Path, sha256: str | None = None) -> None:
    """Fetch `address` to `path`. What came of an interrupted try lies beside it as `.<name>.download` and is gone on with.

    Raises:
        GlatError: no connection, an HTTP error, a web page in place of the file, a full disk, or another checksum.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.download")
    for pause in (*PAUSES, None):
        try:
            _fetch(address, part, path.name)
            break
        except requests.HTTPError as error:
            if error.response.status_code not in PASSING or pause is None:
                raise GlatError(f"{address}: HTTP {error.response.status_code} {error.response.reason}") from None
        except requests.RequestException as error:
            if pause is None:
                raise GlatError(
                    f"{address}: cannot be fetched ({_short(error)}); check the network, or get the file another way "
                    f"and name its place in params.yaml"
                ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = shutil.disk_usage(part.parent).free
            raise GlatError(
                f"{path}: the disk is full ({free / 1e9:.2f} GB free); make room and run again: what came is kept"
            ) from None
        time.sleep(pause)
    if sha256 and (found := hash_file(part)) != sha256:
        part.unlink()
        raise GlatError(f"{address}: its SHA-256 is {found}, expected {sha256}; the file is damaged or another one")
    part.replace(path)


def _fetch(address: str, part: Path, name: str) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    # Compressed on the way, a resumed part would be of other bytes.
    with requests.get(address, headers=headers | {"Accept-Encoding": "identity"}, stream=True, timeout=60) as response:
        if response.status_code == 416:  # all of it is there, or it is not the same file any more
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            part.unlink()
            return _fetch(address, part, name)
        response.raise_for_status()
        if "text/html" in response.headers.get("Content-Type", "") and not name.endswith((".html", ".htm")):
            raise GlatError(f"{address}: a web page, not the file; open it in a browser to see what it asks for")
        resumed = response.status_code == 206
        length = int(response.headers.get("Content-Length", 0)) + (have if resumed else 0)
        with (
            open(part, "ab" if resumed else "wb") as file,
            tqdm(total=length or None, initial=file.tell(), desc=name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
    if length and (got := part.stat().st_size) != length:
        raise requests.ConnectionError(f"ended after {got} of {length} bytes")


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(error: Exception) -> str:
    """The innermost cause, without the addresses of objects that the libraries print."""
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    text = " ".join(str(getattr(inner, "reason", None) or inner).split())
    return re.sub(r"^(\w+\(.*?\)|<.*?>): ", "", text)[:200] or type(error).__name__


def is_address(text: str) -> bool:
    """Whether a text is an address on the web and not the path of a file."""
    return text.startswith(("http://", "https://"))
