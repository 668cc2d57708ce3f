"""Audio from YouTube by yt-dlp: of each video the ten seconds asked for, and what can't be had with its reason.

A shard's folder keeps `<clip>.<webm, m4a, ...>` and `archive.jsonl` (`archive`): a further run asks only for
what is neither there nor gone for good. A kind of loss in the listing has a fate: gone (for good: removed, private, no
audio) or passing (another run may have it: too many requests, bot check, time-out).
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import pandas as pd
from pydantic import AfterValidator, Field

from ....config.types import Count, Natural, Positive
from ....lib.errors import GlatError
from ....lib.files import locked, remove
from ....lib.redaction import redact
from ...kinds import Fate, Kind
from .. import Shard, Source
from .archive import Archive
from .clip import SCRATCH, Clip, Fetcher, Got
from .crew import ask
from .errors import Failure
from .progress import Tally

BYTES = 200_000  # of a clip: ten seconds of YouTube's best audio, about 160 kbit/s
RESERVE = 20_000_000  # bytes that stay free on the disk
# The job stops when of so many outcomes none is a clip and all but so many are passing failures, and at its beginning
# whatever the failures are.
STORM, CALM = 20, 2
LULL = 600.0  # seconds after a storm in which the other shards of the dataset ask for nothing
BREAK = 5  # outcomes without any connection that stop the job


def _proxy(text: str | None) -> str | None:
    try:
        known = text is None or (urlsplit(text).scheme and urlsplit(text).hostname and (urlsplit(text).port or True))
    except ValueError:
        known = False
    if not known:  # without the text, which may hold a password
        raise ValueError(
            "no address of a proxy, as http://host:3128 or http://name:password@host:3128 is; in a password, write / as %2F"
        )
    return text


def _address(text: str) -> str:
    if not re.match(r"https?://[^/]+.*\{id\}", text):
        raise ValueError(f"{text!r} is no http address with {{id}} in place of a video's id")
    return text


class YouTube(Source):
    """`datasets.*.source` of params.yaml, for `kind: youtube`; the names are those of yt-dlp's options where it has one.

    address: where a video is, with `{id}` in place of its id; any site that yt-dlp knows, or the file itself.
    cookies: a cookies file in Netscape's format, from a browser that is signed in; it is read and never written.
    proxy: its address, as in http://host:3128. parallel: clips at once, in each job. retries: further tries at a clip,
    after 2, 4, 8, ... s, when a failure may pass at once. sleep_interval: seconds between the starts of two clips, over
    all jobs that download for the dataset (default: what YouTube lets pass, about 300 videos an hour, and 1800 with
    cookies; none at another address). socket_timeout: seconds without an answer until a connection is given up; a try
    at a clip may take six times that. skip_download: ask for nothing, and go on with the clips that earlier runs got.
    """

    # The address is what a clip is got from; the others say only how.
    ways = ("cookies", "proxy", "parallel", "retries", "sleep_interval", "socket_timeout", "skip_download")

    address: Annotated[str, AfterValidator(_address)] = "https://www.youtube.com/watch?v={id}"
    cookies: str | None = None
    proxy: Annotated[str | None, AfterValidator(_proxy)] = None
    parallel: Count = 4
    retries: Natural = 3
    sleep_interval: Annotated[float, Field(ge=0)] | None = None
    socket_timeout: Positive = 20.0
    skip_download: bool = False

    def interval(self) -> float:
        """Seconds between the starts of two clips."""
        if self.sleep_interval is not None:
            return self.sleep_interval
        if not (urlsplit(self.address).hostname or "").endswith(("youtube.com", "youtu.be")):
            return 0.0
        return 2.0 if self.cookies else 12.0

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Download the clips of a shard that are not there yet.

        Returns a table clip, file, part, kind, reason (`glat.data.resample`), in the segments' order. Another run on the same
        folder is waited for. `shard.workers` is for computing; how many clips are downloaded at once is `parallel`.

        Raises:
            GlatError: a cookies file that is none, no connection, a full disk, or a storm of passing failures. What was
                got is kept, and the next run goes on behind it.
        """
        folder = shard.folder
        clips = [Clip(row.clip, row.youtube_id, row.start, row.end) for row in shard.segments.itertuples()]
        if odd := [clip.clip for clip in clips if "/" in clip.clip or "\0" in clip.clip]:
            raise GlatError(f"{folder}: clip {odd[0]!r} is not the name of a file; correct its id in the segment list")
        with locked(folder / ".lock", f"{folder}: another download fills this folder; waiting for it to end"):
            remove(folder / SCRATCH)
            (folder / SCRATCH).mkdir()
            try:
                outcomes = _complete(clips, folder, self)
            finally:
                remove(folder / SCRATCH)
        rows = [
            (clip.clip, found.file, found.part, "", "")
            if isinstance(found, Got)
            else (clip.clip, "", "", found.kind.value, str(found))
            for clip in clips
            for found in (outcomes[clip.clip],)
        ]
        return pd.DataFrame(rows, columns=["clip", "file", "part", "kind", "reason"])


def _complete(clips: list[Clip], folder: Path, options: YouTube) -> dict[str, Got | Failure]:
    """What is there of each clip, or why it isn't, after everything has been asked for that may be had."""
    given = [name for name in ("cookies", "proxy") if getattr(options, name)]
    outcomes: dict[str, Got | Failure] = {}
    missing: list[Clip] = []
    try:
        archive = Archive(folder, redact(options.address), given)
        outcomes = {clip.clip: found for clip in clips if (found := archive.got(clip) or archive.gone(clip))}
        missing = [clip for clip in clips if clip.clip not in outcomes]
        if options.skip_download:
            return outcomes | {clip.clip: archive.failure(clip) or Failure(Kind.NOT_ASKED) for clip in missing}
        tally = Tally(folder, len(missing), sum(isinstance(found, Got) for found in outcomes.values()))
        if len(missing) * BYTES + RESERVE > shutil.disk_usage(folder).free:
            raise _full(folder, tally)
        with closing(_ask(missing, folder, options, tally)) as news:
            doubted: list[tuple[Clip, Failure]] = []
            for clip, outcome in news:
                outcomes[clip.clip] = outcome
                # That clips are gone is believed once one came: at a wrong or blocked address all seem to be.
                if not tally.kept and isinstance(outcome, Failure) and outcome.gone:
                    doubted.append((clip, outcome))
                    continue
                while tally.kept and doubted:
                    archive.add(*doubted.pop(0))
                archive.add(clip, outcome)
        return outcomes
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(folder, Tally(folder, sum(clip.clip not in outcomes for clip in missing), 0)) from None
        raise GlatError(
            f"{error.filename or folder}: {error.strerror}; the download needs to read and write it"
        ) from None


def _ask(missing: list[Clip], folder: Path, options: YouTube, tally: Tally) -> Generator[tuple[Clip, Got | Failure]]:
    """Ask for the missing clips: their outcomes as they come, until it is of no use to go on."""
    if not missing:
        return
    _check_calm(folder, options)
    fetcher: dict[str, Any] = {"address": options.address, "cookies": _cookies(options.cookies), "proxy": options.proxy}
    fetcher["socket_timeout"] = options.socket_timeout
    try:
        Fetcher(folder, **fetcher).close()  # loads yt-dlp before the threads do
    except Failure as failure:
        raise GlatError(f"datasets.*.source.cookies: {Path(options.cookies or '').name}: {failure.reason}") from None
    recent: deque[Got | Failure] = deque(maxlen=STORM)
    crew = ask(missing, folder, options.parallel, options.interval(), options.retries, **fetcher)
    with closing(tally), closing(crew):
        for clip, outcome in crew:
            if isinstance(outcome, Failure) and outcome.kind == Kind.DISK_FULL:
                raise _full(folder, tally)
            tally.add(outcome)
            recent.append(outcome)
            yield clip, outcome
            if useless(recent, tally.left, tally.kept):
                why = _stop_message(folder, recent, tally, options)
                storm = {"at": time.time(), "folder": str(folder), "why": why, "by": _hash(options)}
                _storm(folder).write_text(json.dumps(storm))
                raise GlatError(why)
            if tally.left and shutil.disk_usage(folder).free < RESERVE:
                raise _full(folder, tally)


def _storm(folder: Path) -> Path:
    return folder.resolve().parents[1] / ".storm"


def _hash(options: YouTube) -> str:
    # Of what may be written: a password could be guessed from a hash of it.
    return hashlib.sha256(json.dumps(redact(options.model_dump()), sort_keys=True).encode()).hexdigest()


def _check_calm(folder: Path, options: YouTube) -> None:
    """Raise GlatError where another shard was just stopped, asking by the same settings: this one would meet the same."""
    try:
        storm = json.loads(_storm(folder).read_text())
        since = time.time() - storm["at"]
        same = storm["by"] == _hash(options) and storm["folder"] != str(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if same and 0 <= since < LULL:
        raise GlatError(f"{folder}: not asked for, as {since / 60:.0f} minutes ago {storm['why']}")


def useless(recent: Sequence[Got | Failure], left: int, kept: int) -> bool:
    """Whether the latest outcomes say that to ask on is of no use: a storm of passing failures, no connection at all, or
    no clip from the beginning.

    left: clips to come; kept: clips that this run and earlier ones got. Behind the last clip it is an error that there
    was no connection, or that nothing is kept and may yet come.
    """
    if not kept and len(recent) >= STORM:
        return True
    passing = [found.kind for found in recent if isinstance(found, Failure) and found.kind.fate == Fate.PASSING]
    got = any(isinstance(outcome, Got) for outcome in recent)
    offline = not got and passing[-BREAK:].count(Kind.OFFLINE)
    if left:
        return offline == BREAK or (not got and len(passing) >= STORM - CALM)
    return len(passing) == len(recent) and (kept == 0 or offline == min(BREAK, len(recent)))


def _cookies(path: str | None) -> str:
    """The text of a cookies file."""
    if path is None:
        return ""
    name = Path(path).name  # where it lies goes into no log
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise GlatError(f"datasets.*.source.cookies: {name} cannot be read: {reason}") from None
    if not text.strip():
        raise GlatError(f"datasets.*.source.cookies: {name} is empty; export the browser's cookies again")
    return text


def _stop_message(folder: Path, recent: Sequence[Got | Failure], tally: Tally, options: YouTube) -> str:
    reasons = Counter(found.kind.cause or found.kind.value for found in recent if isinstance(found, Failure))
    kept = f"clips got and kept: {tally.kept}, not asked for: {tally.left}"
    host = urlsplit(options.address).hostname
    if all(isinstance(one, Failure) and one.kind == Kind.OFFLINE for one in list(recent)[-BREAK:]):
        at = redact(options.proxy or "").rpartition("//")[2].rstrip("/")
        way = f"the proxy {at}" if at else "the network (source.proxy, if it needs a proxy)"
        return f"{folder}: no connection to {host}: check {way}, then run again; {kept}"
    common = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common(3))
    cure = "" if options.cookies else "with a browser's cookies (source.cookies), "
    stopped = f"{folder}: stopped: the last {len(recent)} clips brought none ({common}); {kept}"
    if not tally.kept and any(isinstance(outcome, Failure) and outcome.gone for outcome in recent):
        return (
            f"{stopped}. None is taken for gone, since {host} may be the wrong place or refuse this connection: see in a "
            f"browser whether it has them (source.address), then run again, {cure}through a proxy (source.proxy), or go "
            "on with what is there (source.skip_download)"
        )
    return (
        f"{stopped}. Run again later, {cure}more "
        f"slowly (source.sleep_interval, now {options.interval():g} s; source.parallel, now {options.parallel}) or "
        "with a newer yt-dlp; or go on with what is there (source.skip_download)"
    )


def _full(folder: Path, tally: Tally) -> GlatError:
    free = shutil.disk_usage(folder).free
    return GlatError(
        f"{folder}: too little room: {tally.left} clips to get need about {tally.left * BYTES / 1e9:.3g} GB and "
        f"{free / 1e9:.3g} GB are free; make room and run again, what was got is kept"
    )
