"""No sound is lost in silence: what did not decode, what no packet covers, what a header counts and what stands behind it."""

import functools
import io
import struct
import subprocess

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from data_fixtures import tone, written

from glat.data.audio.clips import AudioError, Cut, prepare
from glat.data.audio.decoding import decode
from glat.data.audio.packets import flac_number, surplus

RATE = 16000
REFUSED = ("truncated: ", "damaged: ", "undecodable: no audio")


@pytest.fixture(scope="module")
def muxed(tmp_path_factory):
    """A tone with noise, stereo, as FFmpeg writes it into a file, or into a pipe, in which nothing is filled in later."""
    folder = tmp_path_factory.mktemp("muxed")

    @functools.cache
    def make(container: str, codec: str, seconds: float = 2.0, piped: bool = False) -> bytes:
        sound = folder / f"{seconds}.wav"
        if not sound.exists():
            noise = 0.05 * np.random.default_rng(0).standard_normal((int(seconds * 44100), 2))
            soundfile.write(sound, 0.5 * tone(seconds).T + noise, 44100)
        rate = "768k" if codec == "dca" else "128k"
        options = f"-c:a {codec} -b:a {rate} -strict -2 -write_xing 0 -f {container}".split()
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-i", sound, *options]
        made = subprocess.run([*command, "-" if piped else folder / "made"], check=True, capture_output=True)
        return made.stdout if piped else (folder / "made").read_bytes()

    return make


def lost(content: bytes) -> str:
    with pytest.raises(AudioError) as error:
        prepare(content, RATE, 10.0)
    return str(error.value)


def seconds(content: bytes) -> float:
    return prepare(content, RATE, 10.0).seconds


def cut(content: bytes) -> bytes:
    return content[: len(content) * 7 // 10 + 3]


def overwritten(content: bytes, begin: float, end: float, zeros: bool = False) -> bytes:
    a, b = (int(len(content) * part) for part in (begin, end))
    return content[:a] + (bytes(b - a) if zeros else np.random.default_rng(1).bytes(b - a)) + content[b:]


BARE = [("mp3", "libmp3lame"), ("mp2", "mp2"), ("adts", "aac"), ("ac3", "ac3"), ("eac3", "eac3"), ("dts", "dca")]
IN_WAV = [("wav", "libmp3lame"), ("wav", "ac3")]
IN_UNITS = [
    ("flv", "libmp3lame"), ("mpegts", "mp2"), ("mpegts", "libopus"), ("mpeg", "mp2"), ("avi", "libmp3lame"), ("asf", "wmav2"),
    ("matroska", "flac"), ("webm", "libopus"), ("tta", "tta"),
]  # fmt: skip
PIPED = [
    ("flac", "flac"), ("wv", "wavpack"), ("webm", "libopus"), ("matroska", "libmp3lame"), ("matroska", "pcm_u8"),
    ("matroska", "pcm_mulaw"), ("matroska", "ac3"), ("asf", "wmav2"), ("asf", "libmp3lame"), ("avi", "aac"), ("avi", "eac3"),
    ("rm", "ac3"), ("flv", "libmp3lame"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("container", "codec", "piped"),
    [(*pair, False) for pair in (*BARE, *IN_WAV, *IN_UNITS)] + [(*pair, True) for pair in PIPED],
)
def test_what_is_whole_is_read_and_what_lacks_sound_is_lost(muxed, container, codec, piped):
    whole = muxed(container, codec, piped=piped)
    assert seconds(whole) == pytest.approx(2.0, abs=0.1)
    for content in (cut(whole), overwritten(whole, 0.75, 1)):
        assert lost(content).startswith(REFUSED)
    if container not in ("rm", "mpeg"):  # they hide a hole of this size
        for zeros in (True, False):
            assert lost(overwritten(whole, 0.5, 0.7, zeros)).startswith(REFUSED)


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("wv", "wavpack"), ("matroska", "flac")])
def test_frames_that_were_cut_out_are_missed_by_their_numbers(muxed, container, codec):
    whole = muxed(container, codec, piped=True)
    half, tenth = len(whole) // 2, len(whole) // 10
    assert lost(whole[:half] + whole[half + tenth :]).startswith(REFUSED)


def test_a_packet_at_the_end_that_does_not_decode_is_lost(muxed):
    """FFmpeg writes AAC into WAV and does not read more than its beginning."""
    assert lost(muxed("wav", "aac")).startswith(REFUSED)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("au", "pcm_s16be"), ("caf", "pcm_s16le"), ("w64", "pcm_s16le"),
        ("mp4", "aac"), ("flv", "libmp3lame"), ("wv", "wavpack"), ("tta", "tta"), ("flac", "flac"), ("voc", "pcm_s16le"),
    ],
)  # fmt: skip
def test_what_stands_behind_the_end_is_not_passed_over(muxed, container, codec):
    """Of two files that were joined, FFmpeg plays the first one, or noise where the second one's header stands."""
    whole = muxed(container, codec)
    assert lost(whole + muxed(container, codec, 1.0)).startswith(REFUSED)
    if container not in ("caf", "w64"):  # FFmpeg takes it for sound
        assert seconds(whole + b"TAG" + bytes(125)) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(("container", "codec"), [*BARE, ("webm", "libopus"), ("avi", "libmp3lame"), ("mpegts", "mp2")])
def test_what_players_play_to_the_end_is_read_though_it_was_joined(muxed, container, codec):
    joined = muxed(container, codec) + muxed(container, codec, 1.0)
    assert seconds(joined) == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(("container", "codec"), BARE)
def test_tags_of_any_kind_are_no_lost_sound(muxed, container, codec):
    whole = muxed(container, codec)
    picture = struct.pack("<II", 60000, 0) + b"Cover Art (Front)\0" + b"\xff\xfb\x90\x64" * 15000
    ape = b"APETAGEX" + struct.pack("<IIIIQ", 2000, len(picture) + 32, 1, 0, 0)
    lyrics = b"LYRICSBEGIN" + b"IND0000211" + 300 * b"z"
    lyrics += b"%06dLYRICS200" % len(lyrics)
    old = b"TAG" + 125 * b"x"
    for tags in (old, b"TAG+" + 223 * b"y" + old, picture + ape, picture + ape + old, lyrics + old, bytes(400)):
        assert seconds(whole + tags) == pytest.approx(2.0, abs=0.1)


def test_a_header_that_counts_too_few_samples():
    wav = bytearray(written(tone(4, RATE, 1)[0], RATE))
    at = wav.find(b"data") + 4
    assert seconds(bytes(wav)) == 4
    wav[at : at + 4] = (64_000).to_bytes(4, "little")
    assert lost(bytes(wav)).startswith("damaged: 2.00 s decoded, and 64000 bytes stand behind")
    for unknown in (0, 0x7FFFF000, 0xFFFFFFFF):  # what pipes write
        wav[at : at + 4] = unknown.to_bytes(4, "little")
        assert seconds(bytes(wav)) == 4
    flac = bytearray(written(tone(4, RATE, 1)[0], RATE, kind="FLAC"))
    flac[22:42] = (2 * RATE).to_bytes(4, "big") + bytes(16)
    assert seconds(bytes(flac)) == 4  # it is decoded to its end


MONO = [("SVX", "PCM_16", 1), ("WVE", "ALAW", 1), ("SDS", "PCM_16", 1)]
COUNTED = [("AVR", "PCM_16"), ("MAT4", "FLOAT"), ("MAT5", "PCM_16"), ("MPC2K", "PCM_16"), ("NIST", "PCM_16")]


@pytest.mark.parametrize(("kind", "subtype", "channels"), MONO + [(*one, n) for one in COUNTED for n in (1, 2)])
def test_a_header_that_counts_the_samples_is_asked(tmp_path, kind, subtype, channels):
    whole = written(tone(3, 8000, channels), 8000, subtype, kind)
    assert seconds(whole) == pytest.approx(3, abs=0.01)
    assert lost(whole[: len(whole) // 2]).startswith(REFUSED)
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    assert decode(Cut(tmp_path / "a", 0.2, 1.0)).samples.shape[1] == pytest.approx(8000, abs=1)


def test_half_of_a_sox_file_is_lost():
    samples = (tone(3, RATE, 1)[0] * 2**31).astype("<i4")
    whole = b".SoX" + struct.pack("<IQdII", 28, len(samples), RATE, 1, 0) + samples.tobytes()
    assert seconds(whole) == 3
    assert lost(whole[: len(whole) // 2]).startswith("truncated: ")


def test_alac_in_caf_is_read_to_its_last_sample():
    wanted = tone(3, 44100)
    whole = written(wanted, 44100, "ALAC_16", "CAF")
    np.testing.assert_allclose(decode(whole).samples, wanted, atol=1e-4)
    assert lost(cut(whole)).startswith(REFUSED)


@pytest.mark.parametrize("kind", ["W64", "RF64"])
def test_w64_and_rf64_from_a_pipe(tmp_path, kind):
    """Neither decoder reads them where the sizes in their headers are missing."""
    wanted = tone(3, RATE, 1)
    content = bytearray(written(wanted, RATE, "PCM_16", kind))
    if kind == "W64":
        at = content.find(b"data") + 16
        content[16:24], content[at : at + 8] = b"\xff" * 8, b"\xff" * 7 + b"\x7f"
    else:
        content[20:44] = bytes(24)
    (tmp_path / "a").write_bytes(content)
    for source in (bytes(content), tmp_path / "a"):
        np.testing.assert_allclose(decode(source).samples, wanted, atol=1e-4)
    np.testing.assert_allclose(decode(Cut(tmp_path / "a", 1, 1)).samples, wanted[:, RATE : 2 * RATE], atol=1e-4)


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libmp3lame"), ("asf", "libmp3lame"), ("wv", "wavpack")])
def test_a_clip_is_cut_from_a_recording_whose_pipe_left_no_length(muxed, tmp_path, container, codec):
    """FFmpeg's guess, by the bit rate, would make a clip of another place or of the whole."""
    (tmp_path / "a").write_bytes(muxed(container, codec, 6.0, piped=True))
    whole = decode(tmp_path / "a").samples
    taken = decode(Cut(tmp_path / "a", 3.0, 2.0, or_whole=True)).samples
    assert taken.shape == (2, 88200)
    places = range(3 * 44100 - 44, 3 * 44100 + 45)  # times are in milliseconds
    assert min(np.abs(taken - whole[:, at : at + 88200]).max() for at in places) < 1e-2


def test_many_channels_in_planes_are_read_and_no_more(tmp_path):
    """PyAV finds a plane too many, and reads it."""
    soundfile.write(tmp_path / "a.wav", np.repeat(tone(0.1, 48000, 1).T, 223, axis=1), 48000)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", tmp_path / "a.wav", "-c:a", "libopus"]
    subprocess.run([*command, "-mapping_family", "255", "-b:a", "3M", tmp_path / "a.mka"], check=True)
    assert decode(tmp_path / "a.mka").samples.shape == (223, 4800)


def test_what_packets_say_of_themselves(muxed):
    assert surplus("aac", b"\x21" * 100) is None  # as they are in MP4
    for codec, container, encoder in (("mp3", "mp3", "libmp3lame"), ("ac3", "ac3", "ac3"), ("dts", "dts", "dca")):
        with av.open(io.BytesIO(muxed(container, encoder))) as file:
            packet = bytes(next(file.demux()))
        assert [surplus(codec, packet + more) for more in (b"", bytes(7))] == [0, 7]
        assert surplus(codec, packet[:-7]) == -7
    for number in (0, 127, 128, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x1FFFFF, 2**26 - 1, 2**31 - 1):
        coded = chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else _coded(number)
        assert flac_number(b"\xff\xf8\xc9\xa8" + coded + bytes(8)) == (False, number)
    assert flac_number(b"\xff\xf9\xc9\xa8\x05" + bytes(9)) == (True, 5)


def _coded(number: int) -> bytes:
    more = 3
    while number >= 1 << (6 * more + 6 - more):
        more += 1
    lead = (0xFF << (7 - more)) & 0xFF | number >> 6 * more
    return bytes([lead, *(0x80 | number >> 6 * at & 63 for at in range(more - 1, -1, -1))])
