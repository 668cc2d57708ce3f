"""One clip by yt-dlp: the best audio of a video, only the seconds asked for, checked before it counts."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import av

from ....lib.redaction import redact
from ...audio.decoding import decode
from ...audio.formats import CONTAINERS
from ...audio.pieces import AudioError, Cut, NoSound
from ...kinds import Kind
from .errors import Failure, classify, http_failure
from .inside import download_piece, use_ffmpeg

SCRATCH = ".fetching"  # in the shard's folder: what is not complete yet
HEAD = 2**21  # bytes of a recording that tell its streams and its length
SLACK = 0.5  # seconds that a cut may be short of; YouTube gives durations in whole seconds


class Clip(NamedTuple):
    """clip: its name; start, end: seconds of the video."""

    clip: str
    youtube_id: str
    start: float
    end: float


class Got(NamedTuple):
    """file: name in the folder; part: empty, or `<start>+<seconds>` where the file is the whole video; bytes: its size."""

    file: str
    part: str
    bytes: int


class Fetcher:
    """yt-dlp with its settings, for one thread: make it in the thread that uses it.

    cookies: the text of a cookies file, or "". YouTube renews cookies while they are used; the user's file stays as it is.

    Raises:
        Failure: the text is not that of a cookies file.
    """

    def __init__(self, folder: Path, address: str, cookies: str, proxy: str | None, socket_timeout: float):
        import deno
        import imageio_ffmpeg
        from yt_dlp import YoutubeDL
        from yt_dlp.utils import YoutubeDLError

        self.folder, self.address, self.socket_timeout = folder, address, socket_timeout
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        use_ffmpeg(ffmpeg)
        self.ydl = YoutubeDL(
            {
                "format": "bestaudio/best/worstvideo",  # by the last, a video without sound is recognised
                "ffmpeg_location": ffmpeg,
                "js_runtimes": {"deno": {"path": deno.find_deno_bin()}},
                "external_downloader_args": {
                    # A stalled read ends, a broken one is an error and no short file.
                    "ffmpeg_i": ["-rw_timeout", str(round(socket_timeout * 1e6)), "-xerror"],
                    # Packets are copied as they are. Those before the start, from the last seek point on, are left out:
                    # the cut is exact to a packet (about 20 ms), and nothing is encoded a second time.
                    "ffmpeg_o": ["-vn", "-sn", "-dn", "-copypriorss", "0"],
                },
                "socket_timeout": socket_timeout,
                "proxy": proxy,
                "cookiefile": io.StringIO(cookies) if cookies else None,
                "extractor_retries": 1,
                "noplaylist": True,
                "fixup": "never",  # needs ffprobe, and a cut that ffmpeg wrote needs none
                "updatetime": False,
                "quiet": True,
                "noprogress": True,
                "no_warnings": True,
                "color": "no_color",
                "logger": _Silent(),
            }
        )
        try:
            jar = self.ydl.cookiejar
        except YoutubeDLError as error:
            raise Failure(
                Kind.PASSING, f"not a cookies file in Netscape's format ({error.__cause__ or error})"
            ) from None
        if cookies and not len(jar):
            raise Failure(Kind.PASSING, "no cookie in it; export the browser's cookies again, in Netscape's format")

    def fetch(self, clip: Clip) -> Got:
        """Bring a clip into the folder as `<clip>.<extension>`, whole or not at all.

        Raises:
            Failure: what came of it instead.
        """
        from yt_dlp.utils import YoutubeDLError

        try:
            with tempfile.TemporaryDirectory(dir=self.folder / SCRATCH, prefix=f"{clip.clip}.") as scratch:
                return self._fetch(clip, Path(scratch))
        except Failure:
            raise
        except (YoutubeDLError, OSError) as error:
            raise classify(error) from None
        except Exception as error:
            raise Failure(Kind.OTHER, f"other; {type(error).__name__}: {redact(str(error))}"[:150]) from None

    def _fetch(self, clip: Clip, scratch: Path) -> Got:
        from yt_dlp.utils import DownloadError

        info = self.ydl.extract_info(self.address.replace("{id}", quote(clip.youtube_id, safe="")), download=False)
        if not info or info.get("_type", "video") != "video":
            raise Failure(Kind.WEB_PAGE)
        if info.get("is_live"):
            raise Failure(Kind.LIVE)
        if info.get("acodec") == "none":
            raise Failure(Kind.NO_SOUND)
        duration = info.get("duration")
        if duration is not None and duration <= clip.start:
            raise _too_short(duration, clip)
        end = clip.end if duration is None else min(clip.end, duration + SLACK)
        try:
            cut = download_piece(self.ydl, info, scratch, clip.start, end)
        except DownloadError as error:
            raise self._transfer_failure(error, info) from None
        found = _only_file(scratch)
        part = "" if cut else f"{clip.start:g}+{clip.end - clip.start:g}"
        try:
            short = check(found, clip, part, duration) < clip.end - clip.start - SLACK
        except Failure as failure:
            if failure.kind != Kind.ENDS_BEFORE or duration is not None or self._declared_seconds(info) <= clip.start:
                raise
            short = True
        if short and duration is None and self._declared_seconds(info) > clip.end:
            raise Failure(Kind.BROKEN, "broken transfer; the file ends before its declared end", again=True)
        name = f"{clip.clip}{found.suffix}"
        size = found.stat().st_size
        os.replace(found, self.folder / name)
        return Got(name, part, size)

    def _transfer_failure(self, error: Exception, info: dict[str, Any]) -> Failure:
        """Why ffmpeg gave up, which yt-dlp does not say: the beginning of what it read is asked for once more."""
        from yt_dlp.networking.exceptions import HTTPError
        from yt_dlp.utils import YoutubeDLError

        failure = classify(error)
        if failure.kind != Kind.BROKEN or "ffmpeg" not in str(error) or not info.get("url"):
            return failure
        try:
            head = self._head(info)
        except HTTPError as refused:
            return http_failure(refused.status).passing()  # the video was there a moment ago
        except (YoutubeDLError, OSError) as broken:
            return classify(broken)
        if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            return Failure(Kind.WEB_PAGE)
        with _open_head(head) as container:
            mute = container and container.streams.video and not container.streams.audio
        return Failure(Kind.NO_SOUND) if mute else failure

    def _head(self, info: dict[str, Any]) -> bytes:
        """The beginning of what ffmpeg read: up to 2 MiB, as far as they come within the time-out."""
        from yt_dlp.networking import Request

        headers = {**(info.get("http_headers") or {}), "Range": f"bytes=0-{HEAD - 1}"}
        end, head = time.monotonic() + self.socket_timeout, b""
        with self.ydl.urlopen(Request(info["url"], headers=headers)) as response:
            while len(head) < HEAD and time.monotonic() < end and (block := response.read(1024)):
                head += block
        return head

    def _declared_seconds(self, info: dict[str, Any]) -> float:
        """Seconds that the recording's header declares, 0 where it does not say."""
        from yt_dlp.utils import YoutubeDLError

        try:
            with _open_head(self._head(info)) as container:
                return (container.duration or 0) / av.time_base if container else 0.0
        except (YoutubeDLError, OSError):
            return 0.0

    def close(self) -> None:
        self.ydl.close()


def check(path: Path, clip: Clip, part: str = "", duration: float | None = None) -> float:
    """Decode a file and compare its length with the clip's; returns the seconds of the clip that it has.

    part: as in `Got`; duration: of the video in seconds, where it is known.

    Raises:
        Failure: no audio, not decodable, longer than the clip, or shorter though the video is not.
    """
    wanted = clip.end - clip.start
    try:
        decoded = decode(Cut(path, clip.start, wanted)) if part else decode(path, wanted + 2.0)
    except AudioError as error:
        if part and error.kind == Kind.NO_AUDIO_STREAM:
            raise Failure(Kind.NO_SOUND) from None
        # ffmpeg ended well and found nothing to copy: a video without sound is an error to it, one that ended is none.
        if isinstance(error, NoSound) or error.kind in (Kind.TOO_SHORT, Kind.NO_AUDIO_STREAM):
            raise _too_short(duration, clip) from None
        raise Failure(Kind.BROKEN, f"broken transfer; {error}", again=True) from None
    found = decoded.samples.shape[1] / decoded.rate
    least = 0.0 if duration is None else min(clip.end, duration - SLACK) - clip.start
    if found < least - SLACK:
        raise Failure(Kind.BROKEN, f"broken transfer; {found:.2f} of {wanted:.2f} s came", again=True)
    if found > wanted + 1.0:
        raise Failure(Kind.NOT_CUT, f"not cut; over {wanted + 1:g} s came", again=True)
    return found


def _too_short(duration: float | None, clip: Clip) -> Failure:
    end = "before" if duration is None else f"at {duration:g} s,"
    return Failure(Kind.ENDS_BEFORE, f"too short; the video ends {end} the clip starts at {clip.start:g} s")


def _only_file(scratch: Path) -> Path:
    files = [path for path in scratch.iterdir() if path.suffix != ".part"]
    if len(files) != 1:
        raise Failure(Kind.BROKEN, "broken transfer; no file came", again=True)
    return files[0]


@contextmanager
def _open_head(head: bytes) -> Iterator[av.container.InputContainer | None]:
    """A recording by its first bytes, None where they are none."""
    try:
        container = av.open(io.BytesIO(head), "r", options={"format_whitelist": CONTAINERS}, metadata_errors="ignore")
    except av.error.FFmpegError:
        yield None
        return
    with container:
        yield container


class _Silent:
    """yt-dlp's talk: what matters of it comes as exceptions."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug
