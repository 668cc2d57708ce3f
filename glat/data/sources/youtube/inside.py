"""What of yt-dlp is used beside its public options, and why; all of it is here, tested with the version of uv.lock.

Its option `download_ranges` would cut as `download_piece` does, but only together with the choice of formats, in one call:
what the video is would then be checked after its download. And its template of output names cannot hold any folder: it
replaces `%(...)s`, `$NAME` and `~` in it, and has no escape for the last two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL


def use_ffmpeg(path: str) -> None:
    """Cut with this ffmpeg: yt-dlp asks whether it can cut before it looks at its option `ffmpeg_location`."""
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    FFmpegPostProcessor._ffmpeg_location.set(path)


def download_piece(ydl: YoutubeDL, info: dict[str, Any], folder: Path, start: float, end: float) -> bool:
    """Download these seconds of a video into `folder`; the whole of one in a format that cannot be cut.

    info: of the video, from `extract_info`. Returns whether it was cut. Raises yt-dlp's DownloadError.
    """
    from yt_dlp.downloader.external import FFmpegFD

    cut = FFmpegFD.can_download(info)
    job = info | ({"section_start": start, "section_end": end} if cut else {})
    if job["ext"] == "unknown_video":  # the server says "octet-stream", and Matroska holds whatever it is
        job["ext"] = "mka"
    target = folder / f"audio.{job['ext']}"
    ydl.prepare_filename = lambda *_, **__: str(target)
    ydl.process_info(job)
    return cut
