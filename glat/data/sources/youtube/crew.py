"""Several clips at once: threads that ask at a common pace, ask again after a pause, and never hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psutil

from ....lib.files import locked
from ...kinds import Kind
from .clip import SCRATCH, Clip, Fetcher, Got
from .errors import Failure

PATIENCE = 6  # times the socket's time-out: how long one try at a clip may take
LONGEST = 3600.0  # seconds that a start is put off, at most
PAUSE = 2.0  # seconds before the second try; doubled for each further one


class Pace:
    """Starts at least `interval` seconds apart: of all threads, and of all downloads that share the file `path`."""

    def __init__(self, path: Path, interval: float, stop: threading.Event):
        self.path, self.interval, self._stop = path, interval, stop

    def wait(self) -> None:
        """Wait for one's turn."""
        if self.interval:
            self._stop.wait(self._book(0.0, self.interval))

    def hold(self, seconds: float) -> None:
        """Let nobody start for a while: the server asked for it."""
        if self.interval:
            self._book(seconds, 0.0)

    def _book(self, earliest: float, taken: float) -> float:
        """Keep `taken` seconds, not before `earliest` seconds from now; returns in how many seconds they begin."""
        with locked(self.path.with_suffix(".lock"), waiting=""):
            text, now = self.path.read_text(encoding="ascii") if self.path.exists() else "", time.time()
            free = float(text) if text.replace(".", "", 1).isdigit() else now
            if free > now + LONGEST:  # a clock was wrong
                free = now
            begin = max(now + earliest, free)
            self.path.write_text(f"{begin + taken:.3f}", encoding="ascii")
        return begin - now


def ask(
    clips: Sequence[Clip], folder: Path, parallel: int, interval: float, retries: int, **fetcher: Any
) -> Generator[tuple[Clip, Got | Failure]]:
    """The outcome of each clip, in the order in which they come. Close the iterator to stop.

    folder: data/<dataset>/audio/<split>/<shard>, so that the shards and splits of a dataset share a pace; parallel: clips
    at once; interval: seconds between two starts, 0: none; retries: further tries at a clip whose failure may
    pass at once; fetcher: the arguments of `Fetcher` behind the folder, of which `socket_timeout` limits a try, too.
    """
    stop, local, begun = threading.Event(), threading.local(), {}
    pace, limit = Pace(folder.resolve().parents[1] / ".pace", interval, stop), PATIENCE * fetcher["socket_timeout"]

    def start() -> None:
        local.fetcher = Fetcher(folder, **fetcher)

    def work(clip: Clip) -> Got | Failure:
        for tries in range(retries + 1):
            pace.wait()
            if stop.is_set():
                break
            begun[clip] = time.monotonic()
            try:
                return local.fetcher.fetch(clip)
            except Failure as failure:
                if not failure.again or tries == retries:
                    return failure
                pause = PAUSE * 2**tries
                if failure.kind == Kind.TOO_MANY_REQUESTS:
                    pace.hold(pause)
            finally:
                taken = time.monotonic() - begun.pop(clip)
            if taken > limit:
                break
            stop.wait(pause)
        return Failure(Kind.TIME_OUT, again=True)

    pool = ThreadPoolExecutor(parallel, "fetch", start)
    waiting, running = iter(clips), dict[Future[Got | Failure], Clip]()
    try:
        while True:
            while len(running) < 2 * parallel and (clip := next(waiting, None)) is not None:
                running[pool.submit(work, clip)] = clip
            if not running:
                return
            for done in wait(running, min(1.0, limit / 4), FIRST_COMPLETED).done:
                yield running.pop(done), done.result()
            now = time.monotonic()
            late = [clip for clip, since in list(begun.items()) if now - since > limit]
            if late:
                _end_ffmpeg(late)
    finally:
        stop.set()
        _end_ffmpeg(list(begun))
        pool.shutdown(cancel_futures=True)


def _end_ffmpeg(clips: Sequence[Clip]) -> None:
    """End the ffmpegs that work at these clips: yt-dlp waits for its own without a limit."""
    marks = [f"{SCRATCH}/{clip.clip}." for clip in clips]
    for process in psutil.Process().children(recursive=True) if clips else ():
        try:
            if any(mark in word for word in process.cmdline() for mark in marks):
                process.kill()
        except psutil.Error:
            continue  # it has ended by itself
