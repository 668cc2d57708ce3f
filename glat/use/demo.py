"""`glat demo`: a page of this machine, on which a person drops or records a sound, and sees and hears what networks make of it.

Whoever asks may not be who started it, so:

- It listens on 127.0.0.1 unless told otherwise, and answers only where it is asked for by an address, `localhost` or the name
  that it was started with: a page from elsewhere, whose name was made to lead here (DNS rebinding), is refused, and so is what
  a page of another origin sends. No other origin may read an answer.
- A sound is counted while it is read, and decoded within limits. One sound is heard at a time.
- The page loads nothing from elsewhere, and runs no script but its own (`results.page`); names are text in it.
- Sounds lie in a temporary folder, the last few of them, under names that nobody can guess; it is removed at the end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..data.audio.clips import Limits
from ..data.audio.encoding import MEDIA_TYPE
from ..lib.errors import GlatError, tell
from ..lib.escaping import printable
from ..results import clip as pages
from ..results.page import part, render
from .access import HEADERS, Guard
from .recording import Course, Listener, decode

KEPT = 2  # sounds; an hour at 32 kHz takes half a gigabyte of disk
LONGEST_NAME = 200  # characters of a file's name that are shown


class Answer(StreamingResponse):
    """Lines of JSON; `end` is called when they are sent, or whoever asked is gone."""

    def __init__(self, lines: AsyncIterator[str], end: Callable[[], None]):
        super().__init__(lines, media_type="application/x-ndjson", headers=HEADERS)
        self.end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.end()


class Sound(NamedTuple):
    """One that was sent: its files, and what each network heard."""

    folder: Path
    name: str
    samples: dict[int, np.ndarray]  # (samples,) float32 on disk, by rate
    courses: list[Course]
    colours: dict[str, str]  # of classes by name, in the drawings of all of it


class Demo:
    """The page's answers. folder: for sounds; limits: what one may cost."""

    def __init__(self, listeners: list[Listener], folder: Path, limits: Limits):
        self.listeners, self.folder, self.limits = listeners, folder, limits
        self.sounds: dict[str, Sound] = {}
        self.busy = threading.Lock()  # while a sound is heard
        self.pen = threading.Lock()  # Matplotlib's settings are the process's

    def app(self, name: str) -> Guard:
        routes = [
            Route("/", self.page),
            Route("/hear", self.hear, methods=["POST"]),
            Route("/sound/{key}", self.sound),
            Route("/clip/{key}", self.clip),
        ]
        return Guard(Starlette(routes=routes), name)

    async def page(self, request: Request) -> Response:
        values = {
            "titles": [listener.title for listener in self.listeners],
            "most": self.limits.bytes,
            "refusal": self._too_big(),
            "minutes": self.limits.seconds / 60,
        }
        return HTMLResponse(render("use/demo.html.j2", ["use/demo.js.j2"], True, **values), headers=HEADERS)

    def _too_big(self) -> str:
        return f"larger than the {self.limits.bytes / 1e6:g} MB that one sound may have ({self.limits.names[0]})"

    async def hear(self, request: Request) -> Response:
        """Lines of JSON: {"done": share, "what"} while a sound is heard; at last {"key", "seconds", "html"}, or {"error"}."""
        if not self.busy.acquire(blocking=False):
            return _refuse("another sound is being heard; send this one when it is done", 409)
        key, name = secrets.token_urlsafe(16), printable(request.query_params.get("name", "")) or "recording"
        sound, answer = Sound(self.folder / key, name[-LONGEST_NAME:], {}, [], {}), None
        work = self._work(key, sound)

        def end() -> None:
            work.close()
            if key not in self.sounds:
                shutil.rmtree(sound.folder, ignore_errors=True)
            self.busy.release()

        try:
            sound.folder.mkdir()
            if why := await self._receive(request, sound.folder / "sent"):
                return _refuse(why, 413)
            answer = Answer(self._lines(work, sound.name), end)
            return answer
        except ClientDisconnect:
            return _refuse("broken off", 400)
        except OSError as error:
            return _refuse(f"cannot be kept here: {error.strerror}", 507)
        finally:
            if answer is None:
                end()

    async def _receive(self, request: Request, path: Path) -> str:
        """Write what is sent to a file; why not, if it is not to be had."""
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > self.limits.bytes:
            return self._too_big()
        size = 0
        with path.open("wb") as file:
            try:
                async with asyncio.timeout(self.limits.time):
                    async for chunk in request.stream():
                        size += len(chunk)
                        if size > self.limits.bytes:
                            return self._too_big()
                        await run_in_threadpool(file.write, chunk)
            except TimeoutError:
                return f"not here within the {self.limits.time:g} s that a sound may take ({self.limits.names[2]})"
        return "" if size else "empty: drop a file of sound, or record one"

    async def _lines(self, work: Iterator[dict[str, Any]], name: str) -> AsyncIterator[str]:
        try:
            async for line in iterate_in_threadpool(work):
                yield json.dumps(line) + "\n"
        except (GlatError, OSError) as error:
            yield json.dumps({"error": f"{name}: {error}"}) + "\n"
        except Exception as error:  # whoever waits is told, and the page lives on
            tell(f"glat: {name}: {error!r}", logging.ERROR, error)
            yield json.dumps({"error": f"{name}: not heard, for a fault of this program; its log says more"}) + "\n"

    def _work(self, key: str, sound: Sound) -> Generator[dict[str, Any]]:
        """What `hear` answers, line by line."""
        sent, notes = sound.folder / "sent", []
        for rate in dict.fromkeys(listener.rate for listener in self.listeners):
            raw = sound.folder / f"{rate}.raw"
            for found in decode(sent, rate, self.limits, raw, sound.folder / "sound.webm"):
                if isinstance(found, str):
                    notes.append(found)
                else:
                    yield {"what": f"read {found:.0f} s"}
            sound.samples[rate] = np.memmap(raw, np.float32, "r")
        sent.unlink()
        seconds = max(len(samples) / rate for rate, samples in sound.samples.items())
        for number, listener in enumerate(self.listeners):
            for done in listener.course(sound.samples[listener.rate], sound.name):
                if isinstance(done, Course):
                    sound.courses.append(done)
                else:
                    share = (number + done / seconds) / len(self.listeners)
                    yield {"done": share, "what": f"{listener.title}: {done:.0f} of {seconds:.0f} s"}
        self.sounds[key] = sound
        for old in list(self.sounds)[:-KEPT]:
            shutil.rmtree(self.sounds.pop(old).folder, ignore_errors=True)
        courses: list[pages.Clip] = []
        if any(len(course.scores) > 1 for course in sound.courses):  # of a single clip, the clip shows it all
            with self.pen:
                for listener, course in zip(self.listeners, sound.courses, strict=True):
                    how = (seconds, f"sound/{key}", sound.name, sound.colours)
                    courses.append(listener.show_course(course, *how))
                    sound.colours.update(_colours(courses))
        html = part(
            "use/demo.answer.html.j2",
            courses=[pages.show(one) for one in courses],
            notes=list(dict.fromkeys(notes)),
            key=key,
        )
        yield {"key": key, "seconds": seconds, "html": html}

    async def sound(self, request: Request) -> Response:
        """A whole sound, as it was heard."""
        sound = self.sounds.get(request.path_params["key"])
        if sound is None:
            return _refuse("this sound is no longer kept; send it again", 404)
        return FileResponse(sound.folder / "sound.webm", media_type=MEDIA_TYPE, headers=HEADERS)

    async def clip(self, request: Request) -> Response:
        """The clip of a sound that holds the second ?at=."""
        sound = self.sounds.get(request.path_params["key"])
        if sound is None:
            return _refuse("this sound is no longer kept; send it again", 404)
        try:
            at = min(max(0.0, float(request.query_params.get("at", "0"))), self.limits.seconds)
        except ValueError:
            return _refuse("at: expected a number of seconds", 400)
        return HTMLResponse(await run_in_threadpool(self._clips, sound, at), headers=HEADERS)

    def _clips(self, sound: Sound, at: float) -> str:
        shown: list[pages.Clip] = []
        with self.pen:
            for listener in self.listeners:
                shown.append(
                    listener.show_clip(sound.samples[listener.rate], at, sound.name, sound.colours | _colours(shown))
                )
        return "".join(map(pages.show, shown))


def _colours(shown: list[pages.Clip]) -> dict[str, str]:
    """Of the classes in the drawings beside which another one stands."""
    return {row.label: row.colour for clip in shown for row in clip.rows}


def _refuse(why: str, status: int) -> Response:
    return Response(json.dumps({"error": why}), status, HEADERS, "application/json")


def serve(listeners: list[Listener], host: str, port: int, limits: Limits) -> None:
    """Serve the page until it is interrupted; port 0: any that is free.

    Raises:
        GlatError: the port is taken, or the host is none of this machine.
    """
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(place[4][:2], family=place[0])
    except (OSError, UnicodeError) as error:
        why = f"{getattr(error, 'strerror', None) or error}; choose others with --host and --port"
        raise GlatError(f"{host}, port {port}: cannot be listened on: {why}") from None
    with TemporaryDirectory(prefix="glat-demo-") as folder, listening:
        shown = f"[{host}]" if ":" in host else host
        tell(f"glat demo: http://{shown}:{listening.getsockname()[1]} (end it with Ctrl-C)")
        app = Demo(listeners, Path(folder), limits).app(host.lower())
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, ws="none")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the sounds would be left
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
