"""Who may ask a page of this machine (`glat.use.demo`), and what a sound may cost that comes from another one."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config.settings import Served
from ..data.audio.clips import Limits

HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what does not ask for this server by an address, `localhost` or `name`, and what another origin sends."""

    def __init__(self, app: ASGIApp, name: str):
        self.app, self.names = app, ("localhost", name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if scope["type"] != "http" or not self._known(host) or origin not in (None, f"http://{host}"):
            return await PlainTextResponse("asked for from elsewhere: refused", 403, HEADERS)(scope, receive, send)
        return await self.app(scope, receive, send)

    def _known(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        name = name if colon and port.isdigit() else host
        with suppress(ValueError):
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
            return True
        return name.lower() in self.names


def limits_of_others(served: Served) -> Limits:
    """What a sound may cost that somebody on another machine sends."""
    names = ("tracking.served.max_bytes", "tracking.served.max_seconds", "tracking.served.timeout")
    return Limits(served.max_bytes, served.max_seconds, served.timeout, names)


def is_local(host: str) -> bool:
    """Whether a name or an address is one that this machine alone reaches."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"
