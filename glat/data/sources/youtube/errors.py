"""Why a video gives no audio: what yt-dlp, YouTube and the network say, told apart into gone and passing.

Only what is known to be for good is `gone`. Everything else, also a message that nobody has seen yet, is `passing`: it
is asked for again on the next run, and a storm of it stops the job.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ....lib.escaping import printable
from ....lib.redaction import redact
from ...kinds import Fate, Kind


class Failure(Exception):
    """A clip that did not come.

    kind: its kind of loss; reason: for the ledger, without the kind's fate (default: the kind's cause); again: whether
    another try in the same run may help; cure: the setting that may help where it was not set before (cookies, proxy, or
    ""). As text, `<fate>: <reason>`.
    """

    def __init__(self, kind: Kind, reason: str = "", again: bool = False, cure: str = ""):
        reason = printable(redact(reason or kind.cause))
        super().__init__(f"{kind.fate}: {reason}")
        self.kind, self.reason, self.again, self.cure = kind, reason, again, cure

    @property
    def gone(self) -> bool:
        return self.kind.fate == Fate.GONE

    def passing(self) -> Failure:
        """The same, not for good."""
        return Failure(Kind.PASSING if self.gone else self.kind, self.reason, self.again)


class _Rule(NamedTuple):
    pattern: str
    kind: Kind
    again: bool = False
    cure: str = ""


# The first that fits counts. YouTube writes the apostrophe as ' and as ’.
_RULES = (
    _Rule(r"no space left|\[errno 28\]|disk quota|ffmpeg exited with code (228|134)\b", Kind.DISK_FULL),
    _Rule(r"not a bot|captcha|unusual traffic", Kind.BOT_CHECK),
    _Rule(r"rate.?limited|try again later", Kind.RATE_LIMIT),
    _Rule(r"confirm your age|age.restricted|inappropriate for some users", Kind.AGE_RESTRICTED, cure="cookies"),
    _Rule(
        r"(in|from) your (country|location|region)|geo.?restrict|not available in .*country",
        Kind.OTHER_REGION, cure="proxy",
    ),
    _Rule(
        r"members.only|join this channel|channel.s members|music premium|premium members|requires payment|purchase|to rent",
        Kind.PAID, cure="cookies",
    ),
    _Rule(r"private video|video is private|granted access to this video", Kind.PRIVATE, cure="cookies"),
    _Rule(r"terminated|closed their|account .*(closed|suspended)|channel .*(closed|deleted)", Kind.ACCOUNT_CLOSED),
    _Rule(r"copyright", Kind.COPYRIGHT),
    _Rule(
        r"removed by|been removed|video removed|violat|terms of service|community guidelines|deleted by",
        Kind.REMOVED,
    ),
    _Rule(r"recording is not available|live event has ended|live stream .*ended", Kind.NO_RECORDING),
    _Rule(r"premiere|will begin (in|shortly)|processing this video|live in \d", Kind.NOT_YET_PUBLIC),
    _Rule(r"on this app|latest version of youtube|page needs to be reloaded|drm", Kind.PLAYER_REFUSED),
    # To an address that it has blocked, YouTube says the second of any video (yt-dlp's issue 7143).
    _Rule(
        r"content isn.t available|this video (is not|isn.t) available\W*$", Kind.CONNECTION_REFUSED,
    ),
    _Rule(r"login required|sign in|logged.in|registered users", Kind.NEEDS_ACCOUNT, cure="cookies"),
    _Rule(r"incomplete youtube id|not a valid url|invalid youtube id", Kind.NO_VIDEO),
    _Rule(
        r"video unavailable|video (is|isn.t|is not|is no longer) (un)?available|video does not exist|no longer available",
        Kind.UNAVAILABLE,
    ),
    _Rule(r"requested format|only images|no video formats|n challenge|player response", Kind.NO_FORMAT),
    _Rule(r"unsupported url|web page", Kind.WEB_PAGE),
    _Rule(
        r"failed to resolve|name or service not known|name resolution|getaddrinfo|nodename nor servname|"
        r"network is unreachable|no route to host|connection refused|unable to connect to proxy|proxy.*(refused|failed)",
        Kind.OFFLINE, again=True,
    ),
    _Rule(r"timed?.?out|ffmpeg exited with code -9\b", Kind.TIME_OUT, again=True),
    _Rule(
        r"reset by peer|remote end closed|connection aborted|bytes read|more expected|prematurely|eof occurred|broken pipe",
        Kind.BROKEN, again=True,
    ),
    _Rule(r"ffmpeg exited|downloaded file is empty", Kind.BROKEN, again=True),
)  # fmt: skip
_STATUS = {
    404: _Rule("", Kind.NOT_FOUND),
    410: _Rule("", Kind.GONE_FOR_GOOD),
    451: _Rule("", Kind.WITHHELD, cure="proxy"),
    403: _Rule("", Kind.FORBIDDEN, again=True),
    407: _Rule("", Kind.PROXY_PASSWORD),
    429: _Rule("", Kind.TOO_MANY_REQUESTS, again=True),
}
_KNOWN = tuple((re.compile(rule.pattern, re.IGNORECASE), rule) for rule in _RULES)
_DRESS = re.compile(
    r"\x1b\[[\d;]*m|^ERROR: ?|\[[\w:+-]+\] ?(\S+: )?|; please report this issue.*|\(caused by .*", re.DOTALL
)


def classify(message: object) -> Failure:
    """What a message of yt-dlp, or an exception's text, means."""
    text = str(message)
    for pattern, rule in _KNOWN[:3]:  # YouTube sends some of these with a status that says less
        if pattern.search(text):
            return _failure(rule)
    if found := re.search(r"HTTP Error (\d{3})", text):
        failure = http_failure(int(found[1]))
        # Of a script or an interface of YouTube that is not found, the video knows nothing.
        return failure if "webpage" in text else failure.passing()
    for pattern, rule in _KNOWN[3:]:
        if pattern.search(text):
            return _failure(rule)
    short = " ".join(_DRESS.sub("", redact(text)).split())[:150]
    return Failure(Kind.OTHER, f"{Kind.OTHER.cause}; {short or type(message).__name__}")


def http_failure(status: int) -> Failure:
    """What an HTTP status of 400 and above means."""
    if status in _STATUS:
        return _failure(_STATUS[status])
    kind = Kind.SERVER_ERROR if status >= 500 else Kind.REFUSED
    return Failure(kind, f"HTTP {status}, {kind.cause}", again=status >= 500)


def _failure(rule: _Rule) -> Failure:
    return Failure(rule.kind, again=rule.again, cure=rule.cure)
