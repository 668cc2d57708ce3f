"""Why a clip is lost: the column `kind` of listings and ledgers, by which the audit counts losses.

The column `reason` beside it is a sentence for people; no code reads it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self


class Fate(StrEnum):
    """What a failed download means for the next one."""

    GONE = "gone"  # for good
    PASSING = "passing"  # another run may have it
    DISK = "disk"  # no clip's fault: the disk is full


class Kind(StrEnum):
    """A kind of loss. `cause` names it; `fate` is set for what a download did not bring, and then part of the value."""

    cause: str
    fate: Fate | None

    def __new__(cls, cause: str, fate: Fate | None = None) -> Self:
        value = ": ".join(filter(None, (fate, cause)))
        member = str.__new__(cls, value)
        member._value_, member.cause, member.fate = value, cause, fate
        return member

    # No audio is known for the clip.
    NOT_LISTED = "not listed"
    NO_FILE = "no file"
    NO_ROW = "no row"
    AMBIGUOUS = "ambiguous"

    # The audio cannot be decoded, or not all of it.
    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty file"
    NO_AUDIO_STREAM = "no audio stream"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"

    # It is decoded and no clip.
    TOO_SHORT = "too short"
    TOO_LONG = "too long"
    TOO_BIG = "too big"
    TOO_SLOW = "too slow"
    TOO_LOUD = "too loud"
    NOT_FINITE = "not finite"
    SILENT = "silent"
    CONSTANT = "constant"
    ZEROS = "zeros"

    # A download did not bring it: for good,
    GONE = "", Fate.GONE  # for a reason that has no kind of its own
    PRIVATE = "private video", Fate.GONE
    REMOVED = "removed", Fate.GONE
    ACCOUNT_CLOSED = "account closed", Fate.GONE
    COPYRIGHT = "copyright claim", Fate.GONE
    AGE_RESTRICTED = "age-restricted", Fate.GONE
    OTHER_REGION = "not available in this region", Fate.GONE
    PAID = "members only or paid", Fate.GONE
    NEEDS_ACCOUNT = "needs an account", Fate.GONE
    NO_RECORDING = "live stream without recording", Fate.GONE
    NO_VIDEO = "no video has this id", Fate.GONE
    UNAVAILABLE = "unavailable", Fate.GONE
    NO_SOUND = "no audio", Fate.GONE
    ENDS_BEFORE = "too short", Fate.GONE
    NOT_FOUND = "HTTP 404, not found", Fate.GONE
    GONE_FOR_GOOD = "HTTP 410, gone for good", Fate.GONE
    WITHHELD = "HTTP 451, withheld for legal reasons", Fate.GONE

    # or for now.
    PASSING = "", Fate.PASSING
    NOT_ASKED = "not asked for yet", Fate.PASSING
    BOT_CHECK = "bot check", Fate.PASSING
    RATE_LIMIT = "rate limit of YouTube", Fate.PASSING
    NOT_YET_PUBLIC = "not yet public", Fate.PASSING
    LIVE = "live now", Fate.PASSING
    PLAYER_REFUSED = "refused to this player", Fate.PASSING
    CONNECTION_REFUSED = "refused to this connection", Fate.PASSING
    NO_FORMAT = "no format offered", Fate.PASSING
    WEB_PAGE = "a web page in place of the audio", Fate.PASSING
    OFFLINE = "no connection", Fate.PASSING
    TIME_OUT = "time-out", Fate.PASSING
    BROKEN = "broken transfer", Fate.PASSING
    NOT_CUT = "not cut", Fate.PASSING
    FORBIDDEN = "HTTP 403, forbidden", Fate.PASSING
    PROXY_PASSWORD = "HTTP 407, the proxy asks for a password", Fate.PASSING
    TOO_MANY_REQUESTS = "HTTP 429, too many requests", Fate.PASSING
    SERVER_ERROR = "server error", Fate.PASSING
    REFUSED = "refused", Fate.PASSING
    OTHER = "other", Fate.PASSING

    # or it could not be written.
    DISK_FULL = "the disk is full", Fate.DISK


class Loss(NamedTuple):
    """Why one clip is lost: the columns `kind` and `reason`."""

    kind: Kind
    reason: str

    @classmethod
    def of(cls, kind: Kind, detail: str = "") -> Loss:
        """`<kind>` or `<kind>: <detail>` as its reason."""
        return cls(kind, f"{kind}: {detail}" if detail else kind.value)
