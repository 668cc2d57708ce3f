"""What compressed packets say of themselves: how many bytes they have, and where in the sound they belong."""

from __future__ import annotations

# Bit rates of MPEG audio in kbit/s by the header's four bits: of MPEG-1's layers 1 to 3, of MPEG-2's layer 1 and 2 or 3.
_BIT_RATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AC3_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_RATES = (44100, 48000, 32000)  # Hz, of MPEG-1 audio


def surplus(codec: str, packet: bytes) -> int | None:
    """Bytes of a packet behind the frames whose headers say how long they are: sound that was overwritten, or a tag.
    Below 0: what its last frame lacks. None where no frame says its length.

    codec: FFmpeg's name of the format.
    """
    measure = _MEASURES.get(codec)
    place = measured = 0
    while measure and place < len(packet) and (length := measure(packet[place : place + 16])):
        place += length
        measured += 1
    if codec == "dts" and packet[place : place + 4] == b"\x64\x58\x20\x25":  # DTS-HD's extension of the frame
        return 0
    return len(packet) - place if measured else None


def flac_number(packet: bytes) -> tuple[bool, int] | None:
    """Whether blocks vary in size, and the number of this FLAC frame's first sample if they do, of the frame if not
    (RFC 9639, 9.1.5); None of what is no frame."""
    if len(packet) < 12 or packet[0] != 0xFF or packet[1] & 0xFE != 0xF8:
        return None
    first = packet[4]
    more = 0 if first < 0x80 else 7 - (~first & 0xFF).bit_length()  # bytes of a longer number, coded as in UTF-8
    number = first & (0x7F >> (more + 1 if more else 0))
    for byte in packet[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    return bool(packet[1] & 1), number


def mpeg_rate(version: int, code: int) -> int:
    """Hz, by two fields of two bits of an MPEG audio header: version 3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5; code is below 3."""
    return _RATES[code] >> {3: 0, 2: 1, 0: 2}.get(version, 0)


def _mpeg(packet: bytes) -> int:
    """ISO/IEC 11172-3, 2.4.2.3; 0 of free format."""
    if len(packet) < 4 or packet[0] != 0xFF or packet[1] & 0xE0 != 0xE0:
        return 0
    layer, version, rate = 4 - (packet[1] >> 1 & 3), packet[1] >> 3 & 3, packet[2] >> 2 & 3  # 3: MPEG-1, 2: -2, 0: -2.5
    if layer == 4 or version == 1 or rate == 3 or packet[2] >> 4 in (0, 15):
        return 0
    hertz = mpeg_rate(version, rate)
    bits = 1000 * _BIT_RATES[1 if version == 3 else 2, layer][packet[2] >> 4]
    padding = packet[2] >> 1 & 1
    if layer == 1:
        return 4 * (12 * bits // hertz + padding)
    return (144 if layer == 2 or version == 3 else 72) * bits // hertz + padding


def _adts(packet: bytes) -> int:
    """ISO/IEC 13818-7, 6.2; 0 of AAC without these headers."""
    if len(packet) < 7 or packet[0] != 0xFF or packet[1] & 0xF6 != 0xF0:
        return 0
    return (packet[3] & 3) << 11 | packet[4] << 3 | packet[5] >> 5


def _ac3(packet: bytes) -> int:
    """ETSI TS 102 366, 4.4.1 and E.1.3.1: AC-3 and Enhanced AC-3."""
    if len(packet) < 6 or packet[:2] != b"\x0b\x77":
        return 0
    if packet[5] >> 3 > 10:
        return 2 * ((packet[2] & 7) << 8 | packet[3]) + 2
    hertz, code = packet[4] >> 6, packet[4] & 63
    if hertz == 3 or code >= 2 * len(_AC3_RATES):
        return 0
    rate = _AC3_RATES[code >> 1]
    return (4 * rate, 2 * (320 * rate // 147 + (code & 1)), 6 * rate)[hertz]


def _dts(packet: bytes) -> int:
    """ETSI TS 102 114, 5.3.1: the core; 0 of its forms with 14 bits or the other order of bytes."""
    if len(packet) < 8 or packet[:4] != b"\x7f\xfe\x80\x01":
        return 0
    return ((packet[5] & 3) << 12 | packet[6] << 4 | packet[7] >> 4) + 1


_MEASURES = {"mp1": _mpeg, "mp2": _mpeg, "mp3": _mpeg, "aac": _adts, "ac3": _ac3, "eac3": _ac3, "dts": _dts}
