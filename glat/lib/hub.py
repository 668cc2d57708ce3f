"""A dataset on the Hugging Face Hub: which files it has at a commit, and fetching them: resumed where they were cut off,
checked, and whole or absent.

Requests are those of the library huggingface_hub and honour its environment: `HF_TOKEN` or the login of `hf auth login`,
`HF_ENDPOINT` for a mirror. Bytes come over plain HTTP and not by Xet, which cannot go on within a file. The library
compares sizes alone, so checksums are compared here.
"""

from __future__ import annotations

import errno
import os
import queue
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tqdm import tqdm

from .addresses import Limits
from .errors import GlatError, brief, tell
from .hub_files import HubFile

PARALLEL = 4  # files fetched at once
PAUSES = (1, 3, 10)  # seconds before each further try; one that brought more of the file starts the count anew
TIMEOUT = 60  # seconds until the Hub has answered what files there are
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
KEPT = "what came is kept: run again to go on"
COMMIT = re.compile("[0-9a-f]{40}")


class Repository(NamedTuple):
    """A dataset on the Hub, as `agkphysics/AudioSet`, at a commit, a branch or a tag."""

    name: str
    revision: str

    def list_files(self) -> tuple[str, list[HubFile]]:
        """The commit that the revision is, and the files that it has.

        Raises:
            GlatError: no connection, no such repository or revision, no access, or an answer that is none.
        """
        where = _endpoint()
        from huggingface_hub import HfApi

        with self._told():
            try:
                found = HfApi().dataset_info(self.name, revision=self.revision, files_metadata=True, timeout=TIMEOUT)
                commit = str(found.sha)
                files = [
                    HubFile(
                        file.rfilename,
                        -1 if file.size is None else file.size,
                        str(file.lfs.sha256 if file.lfs else file.blob_id),
                    )
                    for file in found.siblings or ()
                ]
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise GlatError(
                    f"{self.name}: the answer of {where} is not a list of files ({brief(error)}); check HF_ENDPOINT"
                ) from None
        faults = [fault for file in files if (fault := file.fault())]
        if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(self.revision) and commit != self.revision):
            faults.append(f"it is of {commit!r}, which is not the commit that was asked for, or none")
        if faults:
            raise GlatError(f"{self.name}: the list of files from {where} is wrong: {faults[0]}; check HF_ENDPOINT")
        return commit, files

    def fetch(self, files: list[HubFile], store: Path, limits: Limits) -> None:
        """Fetch files of `revision`, a commit, into the folder `store`, under their own paths. Those that are there already
        and whole are kept.

        Raises:
            GlatError: what `list_files` raises, a file that is larger or slower than `limits`, a disk that is too small,
                or another checksum.
        """
        for file in files:
            if file.size > 1e9 * limits.max_gigabytes:
                raise GlatError(
                    f"{self.name}: {file.path} has {file.size / 1e9:.3g} GB, more than the {limits.max_gigabytes:g} GB "
                    "that a fetched file may have; raise fetch.max_gigabytes"
                )
        missing = [file for file in files if not file.is_there(store)]
        there = f"{self.name} at {self.revision}: {len(files) - len(missing)} of {len(files)} files are there"
        if not missing:
            tell(there)
            return
        size, begun = sum(file.size for file in missing), sum(file.begun(store) for file in missing)
        store.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(store).free
        need = f"{(size - begun) / 1e9:.3g} GB to come and {free / 1e9:.3g} GB free"
        if free < size - begun:
            raise GlatError(
                f"{store}: too small for {self.name}: {need}; make room, or leave splits of the dataset out"
            )
        tell(f"{there}; {need}")
        with (
            self._told(),
            tqdm(total=size, initial=begun, desc=self.name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            self._fetch_some_at_once(missing, store, limits.max_hours, bar)

    def _fetch_some_at_once(self, files: list[HubFile], store: Path, hours: float, bar: tqdm[Any]) -> None:
        """Each in a thread of its own, which the end of the program does not wait for: a server that sends a byte now and
        then never trips a time-out."""
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()  # it would log further tries, with signed addresses
        ended: queue.SimpleQueue[tuple[HubFile, BaseException | None]] = queue.SimpleQueue()
        waiting, progress = iter(files), _Progress(bar)
        running: dict[HubFile, float] = {}
        threads: list[threading.Thread] = []

        def run(file: HubFile) -> None:
            try:
                self._fetch_file(file, store, progress)
                ended.put((file, None))
            except BaseException as error:
                ended.put((file, error))

        def start(some: int) -> None:
            for _, file in zip(range(some), waiting, strict=False):
                running[file] = time.monotonic() + 3600 * hours
                threads.append(threading.Thread(target=run, args=(file,), daemon=True))
                threads[-1].start()

        try:
            start(PARALLEL)
            done, told = 0, 0
            while running:
                late = min(running, key=lambda file: running[file])
                try:
                    file, error = ended.get(timeout=max(running[late] - time.monotonic(), 0))
                except queue.Empty:
                    raise GlatError(
                        f"{self.name}: {late.path} is not there after {hours:g} h; {KEPT}, or give it longer (fetch.max_hours)"
                    ) from None
                if error is not None:
                    raise error
                del running[file]
                start(1)
                done += 1
                if done * 10 // len(files) > told and not sys.stderr.isatty():
                    told = done * 10 // len(files)
                    tell(f"{self.name}: {done} of {len(files)} files fetched")
        finally:
            progress.stop.set()
            for thread in threads:
                thread.join(0.5)

    def _fetch_file(self, file: HubFile, store: Path, progress: _Progress) -> None:
        """Fetch, check and move one file into place; once more from the beginning if it is damaged."""
        (store / file.path).parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            self._complete(file, file.part(store), progress)
            if file.finish(store):
                return
            progress.add(-file.size)
        raise GlatError(
            f"{self.name}: {file.path} came damaged twice, with another checksum than {file.checksum}; run again later, or "
            f"get it another way and put it at {store / file.path}"
        )

    def _complete(self, file: HubFile, part: Path, progress: _Progress) -> None:
        """Bring what is missing of a file, with further tries."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, HTTPError
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        address = hf_hub_url(self.name, file.path, repo_type="dataset", revision=self.revision)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}  # compressed, a range would be of other bytes
        tries, most = 0, 0
        while True:
            try:
                with open(part, "ab", buffering=0) as raw:
                    counted = _Counted(raw, file, progress)
                    http_get(
                        address,
                        counted,  # type: ignore[arg-type]  # it has of a file what is asked of one
                        resume_size=raw.tell(),
                        headers=headers,
                        expected_size=file.size,
                        tqdm_class=_Silent,
                    )
                return
            except (HTTPError, OSError) as error:
                answered = isinstance(error, HfHubHTTPError)
                passing = error.response.status_code >= 500 if answered else getattr(error, "errno", None) is None
                came = part.stat().st_size
                tries, most = (0, came) if came > most else (tries, most)
                if not passing or tries >= len(PAUSES):
                    if not came:
                        part.unlink()
                    raise
            progress.wait(PAUSES[tries])
            tries += 1

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the library raises into a sentence."""
        from huggingface_hub import errors

        try:
            yield
            return
        except errors.RevisionNotFoundError:
            told = f"has no revision {self.revision!r}; set datasets.*.source.revision to a commit of it, 40 digits"
        except errors.GatedRepoError:
            told = f"is gated; accept its terms at {_endpoint()}/datasets/{self.name}, then {LOGIN}"
        except errors.RepositoryNotFoundError:
            told = f"no such dataset at {_endpoint()}, or a private one; set datasets.*.source.repository, or {LOGIN}"
        except errors.HfHubHTTPError as error:
            told = _answer(error.response.status_code)
        except errors.OfflineModeIsEnabled:
            told = "not fetched, since HF_HUB_OFFLINE is set; unset it"
        except errors.HTTPError as error:
            told = (
                f"{_endpoint()} cannot be reached ({brief(error) or type(error).__name__}); check the network; {KEPT}"
            )
        except OSError as error:
            if error.errno is None:  # the library's own
                told = f"the line broke again and again ({brief(error)}); {KEPT}"
            elif error.errno in (errno.ENOSPC, errno.EDQUOT):
                told = f"the disk is full; make room: {KEPT}"
            else:
                raise
        raise GlatError(f"{self.name}: {told}")


def _answer(status: int) -> str:
    if status in (401, 403):
        return f"HTTP {status}: no access with this token, or without one; {LOGIN}"
    if status == 429:
        return f"HTTP 429: the Hub limits requests; wait some minutes, or {LOGIN}, which raises the limit; {KEPT}"
    return f"HTTP {status} from {_endpoint()}; {KEPT}"


def _endpoint() -> str:
    """The Hub's address. Raises GlatError if HF_ENDPOINT is none."""
    try:
        from huggingface_hub import constants
    except ValueError as error:
        raise GlatError(f"HF_ENDPOINT: not an address ({error}); set it to one, or unset it") from None
    return constants.ENDPOINT


class _Progress:
    """What the threads share: the bar of all bytes, and whether to stop."""

    def __init__(self, bar: tqdm[Any]):
        self.bar, self.stop, self.lock = bar, threading.Event(), threading.Lock()

    def add(self, size: int) -> None:
        with self.lock:
            self.bar.update(size)

    def wait(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise GlatError("stopped")


class _Counted:
    """The part of a file, as the library writes to it: no further once it is to stop, and no longer than the file."""

    def __init__(self, raw: BinaryIO, file: HubFile, progress: _Progress):
        self.raw, self.file, self.progress = raw, file, progress
        self.seek, self.tell = raw.seek, raw.tell

    def write(self, block: bytes) -> int:
        self.progress.wait(0)
        if self.raw.tell() + len(block) > self.file.size:
            raise GlatError(f"{self.file.path}: more came than its {self.file.size} bytes; run again later")
        rest = memoryview(block)
        while rest:  # a file without a buffer may take less than it is given
            rest = rest[self.raw.write(rest) :]
        self.progress.add(len(block))
        return len(block)

    def truncate(self) -> int:
        """Of a server that ignores ranges: what came before comes again."""
        self.progress.add(self.raw.tell() - os.fstat(self.raw.fileno()).st_size)
        return self.raw.truncate()


class _Silent(tqdm):
    """The library's bar of one file, in place of which there is one of all."""

    def __init__(self, *_: Any, **__: Any):
        super().__init__(disable=True)
