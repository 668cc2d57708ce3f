"""How much of a sound was lost between its packets, and whether the last one is whole."""

from __future__ import annotations

import math

import av

from .chunks import keep_place
from .formats import BARE
from .packets import flac_number, surplus
from .stream import ByteStream
from .tags import MOST_TAGS, id3_bytes, is_tag, sound_end

LOST = 0.1  # seconds of sound that may be lost: a frame or two, which a decoder drops where MP3s were joined


class Losses:
    """Counts what should be sound and is not, packet by packet, to the end of the file.

    Formats that are packets and nothing else must have no byte that no good packet covers, but for tags. In containers
    with times, a packet that does not decode counts as long as it lasts, and there may be no gap between two frames.
    Elsewhere it counts by its bytes. FLAC numbers its frames in any of them.

    name: of FFmpeg's demuxer; timed: whether its times are more than a guess.
    """

    def __init__(self, file: ByteStream, name: str, codec: str, timed: bool):
        self.file, self.codec, self.timed = file, codec, timed
        self.bare = name in BARE
        self.last_fails = self.cut = False  # of the last packet: does not decode; is shorter than it says
        with keep_place(file):
            self._end = sound_end(file) if self.bare else 0
        self._measured = False  # whether packets say how long they are
        self._bytes = 0  # lost, and of packets that decode
        self._good_bytes = 0
        self._seconds = self._failed = 0.0  # lost; of packets that did not decode since the last frame
        self._holes: list[tuple[int, int]] = []  # from, to
        self._after: int | None = None  # the byte behind the last packet that decodes
        self._before = math.nan  # where the last frame ends, by the container's times
        self._number: int | None = None  # of the next FLAC frame
        self._missing = 0  # bytes lost since the last frame, where they are what tells
        self._smallest = math.inf

    def count_failed(self, packet: av.Packet[av.AudioStream]) -> None:
        """A packet that does not decode."""
        content = bytes(packet)
        if len(content) < 2 or self._is_behind(packet):  # 1: what fills up an odd chunk
            return
        more = surplus(self.codec, content)
        self.cut = self.cut if more is None else more < 0
        self.last_fails = not self._measured
        if is_tag(content[:8]) or not (self._good_bytes or content.strip(b"\0")):
            return
        if self.bare:
            if self._after is None:
                self._after = packet.pos
        elif self.timed and packet.duration:
            self._failed += float(packet.duration * packet.time_base)
        else:
            self._bytes += packet.size
            self._missing += packet.size

    def count_decoded(self, packet: av.Packet[av.AudioStream]) -> None:
        """A packet that decodes."""
        if not packet.size or self._is_behind(packet):
            return
        self.last_fails = False
        content = bytes(packet)
        more = surplus(self.codec, content)
        self._measured |= more is not None
        self.cut = (more or 0) < 0
        if more is None and self.bare:  # of a packet that does not say its length, those before it do
            self.cut = packet.size < self._smallest < math.inf
            self._smallest = min(self._smallest, packet.size)
        more = max(0, more or 0)
        self._good_bytes += packet.size - more
        if self.bare and packet.pos is not None:
            if self._after is not None and packet.pos > self._after:
                self._holes.append((self._after, packet.pos))
                with keep_place(self.file):
                    self._missing = max(0, packet.pos - self._behind_tags(self._after, packet.pos))
            self._after = packet.pos + packet.size - more
        elif more and not is_tag(content[-more:][:8]):
            self._bytes += more

    def frame(self, packet: av.Packet[av.AudioStream], at: float, samples: int, rate: int) -> float:
        """A frame of a packet; at: seconds, NaN where the container does not say. Returns the seconds lost before it: by bytes,
        as many as this packet's would be; less than none where a FLAC repeats what was there."""
        gap = at - self._before if self.timed and not math.isnan(at - self._before) else 0.0
        found = flac_number(bytes(packet)[:16]) if self.codec == "flac" else None  # better than a container's times
        if found:
            varies, number = found
            step = 1 if varies else samples
            # Another file may begin behind the first.
            gap = 0.0 if number == 0 or self._number is None else (number - self._number) * step / rate
            self._number = number + (samples if varies else 1)
        lost = gap if found else max(self._failed, gap if self.codec == "flac" or gap > LOST else 0.0)
        self._seconds += max(self._failed, abs(lost))
        lost += self._missing * samples / rate / max(1, packet.size)
        self._failed, self._before, self._missing = 0.0, at + samples / rate, 0
        return lost

    def seconds(self, heard: float, at_end: bool) -> float:
        """How much is lost; heard: seconds that were decoded; at_end: whether that was to the end of the file."""
        holes = list(self._holes)
        if at_end and self.bare and self._after is not None:
            holes.append((self._after, self._end))
        lost = self._bytes + sum(max(0, end - self._behind_tags(begin, end)) for begin, end in holes)
        seconds = self._seconds + (self._failed if at_end else 0.0)
        return seconds + lost * heard / max(1, self._good_bytes)

    def _is_behind(self, packet: av.Packet[av.AudioStream]) -> bool:
        """Whether it is made of the tags at the end."""
        return self.bare and (packet.pos is None or packet.pos >= self._end)

    def _behind_tags(self, place: int, end: int) -> int:
        for _ in range(MOST_TAGS):
            self.file.seek(place)
            if place >= end or not is_tag(start := self.file.read(128)):
                break
            place += id3_bytes(self.file, place) or (128 if start[:3] == b"TAG" else end - place)
        return place
