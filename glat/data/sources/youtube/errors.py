"""Why a video gives no audio: what yt-dlp, YouTube and the network say, told apart into gone and passing.

Only what is known to be for good is `gone`. Everything else, also a message that nobody has seen yet, is `passing`: it
is asked for again on the next run, and a storm of it stops the job.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ....lib.escaping import printable
from ....lib.redaction import redact

GONE, PASSING, DISK = "gone", "passing", "disk"
OFFLINE = "no connection"


class Failure(Exception):
    """A clip that did not come.

    kind: GONE, PASSING or DISK (the disk is full); reason: for the ledger, without the kind; again: whether another
    try in the same run may help; cure: the setting that may help where it was not set before (cookies, proxy, or "").
    """

    def __init__(self, kind: str, reason: str, again: bool = False, cure: str = ""):
        reason = printable(redact(reason))
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason, self.again, self.cure = kind, reason, again, cure

    def passing(self) -> Failure:
        """The same, not for good."""
        return Failure(PASSING, self.reason, self.again)


class _Rule(NamedTuple):
    pattern: str
    kind: str
    reason: str
    again: bool = False
    cure: str = ""


# The first that fits counts. YouTube writes the apostrophe as ' and as ’.
_RULES = (
    _Rule(r"no space left|\[errno 28\]|disk quota|ffmpeg exited with code (228|134)\b", DISK, "the disk is full"),
    _Rule(r"not a bot|captcha|unusual traffic", PASSING, "bot check"),
    _Rule(r"rate.?limited|try again later", PASSING, "rate limit of YouTube"),
    _Rule(r"confirm your age|age.restricted|inappropriate for some users", GONE, "age-restricted", cure="cookies"),
    _Rule(
        r"(in|from) your (country|location|region)|geo.?restrict|not available in .*country",
        GONE, "not available in this region", cure="proxy",
    ),
    _Rule(
        r"members.only|join this channel|channel.s members|music premium|premium members|requires payment|purchase|to rent",
        GONE, "members only or paid", cure="cookies",
    ),
    _Rule(r"private video|video is private|granted access to this video", GONE, "private video", cure="cookies"),
    _Rule(r"terminated|closed their|account .*(closed|suspended)|channel .*(closed|deleted)", GONE, "account closed"),
    _Rule(r"copyright", GONE, "copyright claim"),
    _Rule(
        r"removed by|been removed|video removed|violat|terms of service|community guidelines|deleted by",
        GONE, "removed",
    ),
    _Rule(r"recording is not available|live event has ended|live stream .*ended", GONE, "live stream without recording"),
    _Rule(r"premiere|will begin (in|shortly)|processing this video|live in \d", PASSING, "not yet public"),
    _Rule(r"on this app|latest version of youtube|page needs to be reloaded|drm", PASSING, "refused to this player"),
    # To an address that it has blocked, YouTube says the second of any video (yt-dlp's issue 7143).
    _Rule(
        r"content isn.t available|this video (is not|isn.t) available\W*$", PASSING, "refused to this connection",
    ),
    _Rule(r"login required|sign in|logged.in|registered users", GONE, "needs an account", cure="cookies"),
    _Rule(r"incomplete youtube id|not a valid url|invalid youtube id", GONE, "no video has this id"),
    _Rule(
        r"video unavailable|video (is|isn.t|is not|is no longer) (un)?available|video does not exist|no longer available",
        GONE, "unavailable",
    ),
    _Rule(r"requested format|only images|no video formats|n challenge|player response", PASSING, "no format offered"),
    _Rule(r"unsupported url|web page", PASSING, "a web page in place of the audio"),
    _Rule(
        r"failed to resolve|name or service not known|name resolution|getaddrinfo|nodename nor servname|"
        r"network is unreachable|no route to host|connection refused|unable to connect to proxy|proxy.*(refused|failed)",
        PASSING, OFFLINE, again=True,
    ),
    _Rule(r"timed?.?out|ffmpeg exited with code -9\b", PASSING, "time-out", again=True),
    _Rule(
        r"reset by peer|remote end closed|connection aborted|bytes read|more expected|prematurely|eof occurred|broken pipe",
        PASSING, "broken transfer", again=True,
    ),
    _Rule(r"ffmpeg exited|downloaded file is empty", PASSING, "broken transfer", again=True),
)  # fmt: skip
_STATUS = {
    404: _Rule("", GONE, "not found"),
    410: _Rule("", GONE, "gone for good"),
    451: _Rule("", GONE, "withheld for legal reasons", cure="proxy"),
    403: _Rule("", PASSING, "forbidden", again=True),
    407: _Rule("", PASSING, "the proxy asks for a password"),
    429: _Rule("", PASSING, "too many requests", again=True),
}
_KNOWN = tuple((re.compile(rule.pattern, re.IGNORECASE), rule) for rule in _RULES)
_DRESS = re.compile(
    r"\x1b\[[\d;]*m|^ERROR: ?|\[[\w:+-]+\] ?(\S+: )?|; please report this issue.*|\(caused by .*",
    re.DOTALL,
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
    return Failure(PASSING, f"other; {short or type(message).__name__}")


def http_failure(status: int) -> Failure:
    """What an HTTP status of 400 and above means."""
    rule = _STATUS.get(status) or _Rule("", PASSING, "server error" if status >= 500 else "refused", status >= 500)
    return _failure(rule._replace(reason=f"HTTP {status}, {rule.reason}"))


def _failure(rule: _Rule) -> Failure:
    return Failure(rule.kind, rule.reason, rule.again, rule.cure)
