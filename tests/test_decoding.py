"""No length is believed that a header can't know; damaged audio is lost with a reason; what one sound costs is bounded."""

import io
import itertools
import resource
import tracemalloc
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from data_fixtures import adts, encode, put, tone, written

from glat.data.audio import ogg
from glat.data.audio.clips import AudioError, Cut, Limits, count_wraps, decode, prepare
from glat.data.audio.decoding import blocks
from glat.data.audio.guard import LARGEST
from glat.use.hearing import listen

RATE = 16000


@pytest.fixture(scope="module")
def loud_first(tmp_path_factory) -> bytes:
    """10 s in an MP3 of variable bit rate without a Xing header, as a pipe from FFmpeg writes it: loud, then quiet."""
    audio = tone(10, 44100, 1)
    audio[:, 44100:] *= 0.01
    path = tmp_path_factory.mktemp("mp3") / "a.mp3"
    with av.open(str(path), "w", format="mp3", options={"write_xing": "0"}) as out:
        stream = out.add_stream("libmp3lame", rate=44100, layout="mono", options={"compression_level": "5"})
        stream.codec_context.flags |= 2  # QSCALE: variable bit rate
        put(out, stream, audio)
    return path.read_bytes()


def test_an_mp3_that_does_not_know_its_length_is_decoded_to_its_end(loud_first, tmp_path):
    (tmp_path / "a.mp3").write_bytes(loud_first)
    for source in (loud_first, tmp_path / "a.mp3"):
        clip = prepare(source, RATE, 10.0)
        assert clip.seconds == pytest.approx(10.0, abs=0.06)
        assert np.abs(clip.samples[-RATE:-1000]).max() > 50  # no zeros
    (tmp_path / "two.mp3").write_bytes(loud_first * 2)
    assert len(listen(loud_first * 2, RATE)) == pytest.approx(20 * RATE, rel=0.01)
    assert prepare(Cut(tmp_path / "two.mp3", 14.0, 5.0, or_whole=True), RATE, 5.0).seconds == pytest.approx(5.0)
    # A header that knows the first of two files is no witness of the second.
    declared = encode(tmp_path / "b.mp3", tone(4)).read_bytes()
    (tmp_path / "b.mp3").write_bytes(declared * 2)
    assert len(listen(declared * 2, RATE)) == pytest.approx(8 * RATE, rel=0.02)
    assert prepare(Cut(tmp_path / "b.mp3", 5.0, 2.0), RATE, 2.0).seconds == pytest.approx(2.0)


def lost(content: bytes | Path, seconds: float = 10.0) -> str:
    with pytest.raises(AudioError) as error:
        prepare(content, RATE, seconds)
    return str(error.value)


def test_audio_that_ends_within_a_packet_is_truncated(loud_first, tmp_path):
    assert lost(loud_first[: len(loud_first) * 6 // 10 + 7]).endswith("the file ends within a packet")
    whole = adts(encode(tmp_path / "a.m4a", tone(10)))
    assert prepare(whole, RATE, 10.0).seconds == pytest.approx(10.0, abs=0.06)
    assert lost(whole[: len(whole) * 7 // 10 + 11]).startswith("truncated: ")
    hole = bytearray(whole)
    hole[len(whole) // 2 : len(whole) // 2 + 6000] = bytes(6000)
    assert lost(bytes(hole)).startswith("damaged: ")
    # Tags are no lost sound.
    for content in (loud_first, whole):
        assert prepare(content + b"TAG" + bytes(125), RATE, 10.0).seconds == pytest.approx(10.0, abs=0.06)
    for kind in ("CAF", "W64"):
        content = written(tone(10, RATE, 1)[0], RATE, "PCM_16", kind)
        assert prepare(content, RATE, 10.0).seconds == 10.0
        assert lost(content[: len(content) * 9 // 10]).startswith("truncated: ")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
def test_a_flac_is_whole_or_lost(subtype):
    whole = written(tone(10, RATE), RATE, subtype, "FLAC")
    assert prepare(whole, RATE, 10.0).seconds == 10.0
    wrong = bytearray(whole)
    wrong[26] ^= 1
    assert "MD5" in lost(bytes(wrong))
    rng = np.random.default_rng(0)
    for _ in range(6):
        at = int(rng.integers(len(whole) // 4, len(whole) - 3000))
        flipped = bytearray(whole)
        flipped[at] ^= 0x55
        assert lost(bytes(flipped)).startswith(("damaged: ", "truncated: "))
        del flipped[at : at + int(rng.integers(1, 2000))]
        assert lost(bytes(flipped)).startswith(("damaged: ", "truncated: "))
        assert lost(whole[: at + 2000]).startswith(("damaged: ", "truncated: "))
    unknown = bytearray(whole)  # a stream's header knows neither length nor MD5
    unknown[21] &= 0xF0
    unknown[22:42] = bytes(20)
    assert prepare(bytes(unknown), RATE, 10.0).seconds == 10.0


def test_an_ogg_with_a_bad_page_is_lost(tmp_path):
    whole = encode(tmp_path / "a.opus", tone(10)).read_bytes()
    pages = [at for at in range(len(whole)) if whole[at : at + 4] == b"OggS"]
    middle = pages[len(pages) // 2]
    altered = bytearray(whole)
    altered[middle + 100] ^= 1
    assert lost(bytes(altered)).startswith("damaged: ")
    following = pages[len(pages) // 2 + 1]
    assert lost(whole[:middle] + whole[following:]).startswith("damaged: ")
    assert lost(whole[:-10]).startswith("truncated: ")
    assert lost(whole[: pages[-1]]).startswith("truncated: ")
    assert prepare(whole + b"TAG" + bytes(125), RATE, 10.0).seconds == pytest.approx(10.0)
    assert len(listen(whole * 2, RATE)) == 20 * RATE
    (tmp_path / "two.opus").write_bytes(whole * 2)
    assert prepare(Cut(tmp_path / "two.opus", 12.0, 5.0, or_whole=True), RATE, 5.0).seconds == pytest.approx(5.0)


def muxed(container: str, codec: str, seconds: float = 2.0) -> bytes:
    """Stereo, of 128 kbit/s where it is compressed."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=44100, layout="stereo")
        stream.bit_rate = 128_000
        put(out, stream, tone(seconds))
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec"),
    [("asf", "wmav2"), ("wv", "wavpack"), ("tta", "tta"), ("ac3", "ac3"), ("avi", "libmp3lame"), ("mpegts", "mp2")],
)
def test_what_ffmpeg_knows_is_read(container, codec):
    assert prepare(muxed(container, codec), RATE, 2.0).seconds == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp2", "mp2"), ("mp3", "libmp3lame"), ("adts", "aac"), ("ac3", "ac3"), ("eac3", "eac3"), ("flv", "libmp3lame"),
        ("flv", "aac"), ("avi", "libmp3lame"), ("avi", "pcm_s16le"), ("mpegts", "mp2"), ("mpegts", "aac"), ("rm", "ac3"),
        ("mpeg", "mp2"), ("voc", "pcm_s16le"),
    ],
)  # fmt: skip
def test_what_a_download_left_empty_is_lost(container, codec, tmp_path):
    """A file that got its full size before its content, of which the end or the middle is zeros; and one cut off."""
    whole = muxed(container, codec, 4)
    if container == "mp3":  # without the frame that counts the others
        whole = encode(tmp_path / "a.mp3", tone(4), options={"write_xing": "0"}).read_bytes()
    assert prepare(whole, RATE, 4.0).seconds == pytest.approx(4, abs=0.1)
    fifth = len(whole) // 5
    (tmp_path / "a").write_bytes(whole)
    assert prepare(Cut(tmp_path / "a", 3.0, 0.9), RATE, 1.0).seconds == pytest.approx(0.9)
    assert prepare(Cut(tmp_path / "a", 3.0, 2.0), RATE, 2.0).seconds == pytest.approx(1, abs=0.1)
    for content in (
        whole[:-fifth] + bytes(fifth),
        whole[: 2 * fifth] + bytes(fifth) + whole[3 * fifth :],
        whole[: 4 * fifth - 70],  # in mid-packet
    ):
        assert lost(content).startswith(("truncated: ", "damaged: "))


def test_a_transport_stream_of_any_packets_ends_with_one():
    whole = muxed("mpegts", "mp2")
    stamped = b"".join(bytes(4) + whole[at : at + 188] for at in range(0, len(whole), 188))
    for content in (whole, stamped, whole[100:]):
        assert len(listen(content, RATE)) == pytest.approx(2 * RATE, rel=0.06)
        assert lost(content[:-50]).endswith("the file ends within a packet")


@pytest.mark.parametrize(("kind", "codec"), [
    ("WAV", "MS_ADPCM"), ("WAV", "IMA_ADPCM"), ("WAV", "GSM610"), ("WAV", "PCM_16"), ("WAVEX", "PCM_24"), ("W64", "PCM_16"),
    ("W64", "MS_ADPCM"), ("W64", "GSM610"), ("AIFF", "GSM610"), ("AIFF", "IMA_ADPCM"), ("AIFF", "PCM_16"),
])  # fmt: skip
def test_no_byte_rate_and_no_count_of_samples_is_believed(tmp_path, kind, codec):
    """They are wrong in many compressed WAVs; where the sound ends, the size of its chunk says."""
    wanted = tone(4, 8000, 1)[0]
    whole = written(wanted, 8000, codec, kind)
    samples = decode(whole).samples[0]
    assert len(samples) == pytest.approx(len(wanted), abs=600)
    wrong = [bytearray(whole) for _ in range(2)]
    for content, factor in zip(wrong, (0.5, 2), strict=True):
        places = [content.find(b"fmt ") + {"W64": 32}.get(kind, 16), content.find(b"fact") + {"W64": 24}.get(kind, 8)]
        for place, name in zip(places, (b"fmt ", b"fact"), strict=True):
            if name in content and (name == b"fmt " or "ADPCM" in codec):
                field = int.from_bytes(content[place : place + 4], "little")
                content[place : place + 4] = (int(factor * field) % 2**32).to_bytes(4, "little")
    for content in (whole, *map(bytes, wrong[: None if kind != "AIFF" else 0])):
        (tmp_path / "a").write_bytes(content)
        np.testing.assert_allclose(decode(content).samples[0], samples, atol=1e-6)
        piece = decode(Cut(tmp_path / "a", 2.0, 1.0)).samples[0]
        np.testing.assert_allclose(piece, samples[16000:24000], atol=1e-6)
        assert lost(content[: len(content) * 9 // 10]).startswith("truncated: ")


def test_what_neither_decoder_can_read_to_its_end_is_damaged():
    assert lost(written(tone(1, 8000, 1)[0], 8000, "DWVW_16", "AIFF")).startswith("damaged: ")


KINDS = ["AIFF", "AU", "CAF", "W64", "RF64", "VOC", "NIST", "IRCAM", "SVX", "AVR", "PAF", "MAT5"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_libsndfile_knows_is_read(tmp_path, kind):
    wanted = tone(1, RATE, 1)
    soundfile.write(tmp_path / "a", wanted[0], RATE, "PCM_16", format=kind)
    np.testing.assert_allclose(decode(tmp_path / "a").samples, wanted, atol=1e-4)


def test_channels_that_cancel_are_heard():
    one = tone(2, RATE, 1)[0]
    clip = prepare(wav(np.stack([one, -one])), RATE, 2.0)
    np.testing.assert_allclose(clip.samples / 2**15, one, atol=1e-4)
    np.testing.assert_allclose(listen(wav(np.stack([one, -one])), RATE), one, atol=1e-6)
    # In surround, and late; and not, where there is more than nothing left.
    late = np.concatenate([np.zeros(RATE, "f4"), one])
    surround = np.stack([0 * late, 0 * late, late, -late, 0 * late, 0 * late])
    np.testing.assert_allclose(prepare(wav(surround), RATE, 3.0).samples / 2**15, late, atol=1e-4)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, len(one))).astype("f4")
    np.testing.assert_allclose(prepare(wav(noise), RATE, 2.0).samples / 2**15, noise.mean(axis=0), atol=1e-4)
    with pytest.raises(AudioError, match="silent"):
        prepare(wav(np.zeros((2, RATE), "f4")), RATE, 1.0)


def wav(channels: np.ndarray) -> bytes:
    return written(channels, RATE, "FLOAT")


def test_a_bomb_takes_no_more_memory_than_a_clip():
    """Twenty seconds of eight silent channels, at the highest rate there is, in some kilobytes."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 655350, 8, "PCM_16", format="FLAC") as out:
        for _ in range(20):
            out.write(np.zeros((655350, 8), "int16"))
    bomb = file.getvalue()
    assert len(bomb) < 2e5
    tracemalloc.start()
    with pytest.raises(AudioError, match="^too long"):
        prepare(bomb, 32000, 10.0)
    assert tracemalloc.get_traced_memory()[1] < 150e6  # two channels of 11 s have 58 MB
    tracemalloc.stop()


def test_a_rate_that_no_sound_has_is_refused_before_it_is_resampled():
    """A second a sample would become 32 000 samples each."""
    for rate in (1, 999, 2_000_000):
        for kind in ("WAV", "AU", "PAF"):  # by libsndfile, FFmpeg, and libsndfile where FFmpeg knows it not
            content = written(tone(0.1, 12000, 1)[0], rate, kind=kind)
            tracemalloc.start()
            for hear in (listen, lambda source, to: prepare(source, to, 1e6)):
                told = f"^undecodable: a sample rate of {rate} Hz, not of 1000 to 1500000$"
                with pytest.raises(AudioError, match=told):
                    hear(content, 32000)
            assert tracemalloc.get_traced_memory()[1] < 10e6
            tracemalloc.stop()


@pytest.mark.parametrize("kind", ["WAV", "AU"])
def test_many_channels_take_no_more_memory_than_one(kind):
    content = written(np.zeros((500, 20_000), "int16"), 8000, kind=kind)
    tracemalloc.start()
    assert all(block.samples.size < 2**19 for block in blocks(content))
    assert len(listen(content, 8000)) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 15e6
    tracemalloc.stop()


@pytest.mark.parametrize(("layout", "channels"), [("7.1", 8), ("hexadecagonal", 16)])
def test_eight_channels_and_more_are_those_of_the_file(layout, channels):
    """PyAV takes what lies behind the eighth for further ones, and the process died of it."""
    out = io.BytesIO()
    with av.open(out, "w", format="adts") as container:
        put(container, container.add_stream("aac", rate=48000, layout=layout), tone(1, 48000, 2), 48000)
    samples = decode(out.getvalue()).samples
    assert len(samples) == channels and np.abs(samples[0]).max() == pytest.approx(0.4, abs=0.3)


def test_the_pages_of_an_ogg_are_read_one_by_one(tmp_path):
    class File(io.BytesIO):
        def read(self, size=-1):
            assert 0 <= size < 2**16
            return super().read(size)

    content = encode(tmp_path / "a.opus", tone(20)).read_bytes()
    assert len(content) > 2**17
    assert ogg.damage(File(content)) == ogg.damage(File(content + b"TAG" + bytes(125))) == ""
    assert ogg.damage(File(content[:-1])) == "an Ogg page was altered"
    ticks = iter(range(3))
    with pytest.raises(StopIteration):
        ogg.damage(File(content), lambda: next(ticks))


def test_limits_of_bytes_seconds_and_time(monkeypatch):
    content = wav(tone(20, RATE, 1))
    assert len(listen(content, RATE, limits=Limits(bytes=len(content), seconds=20, time=60))) == 20 * RATE
    with pytest.raises(AudioError, match="^too big: .* over the limit of 1000 .audio.limits.bytes."):
        listen(content, RATE, limits=Limits(bytes=1000))
    with pytest.raises(AudioError, match="^too long: over 15 s to decode, the limit .audio.limits.seconds."):
        listen(content, RATE, limits=Limits(seconds=15))
    with pytest.raises(AudioError, match="^too slow: .*audio.limits.time"):
        listen(content, RATE, limits=Limits(time=0))
    # What is done with the sound takes none of its time.
    clock = [0.0]
    monkeypatch.setattr("glat.data.audio.pieces.time.monotonic", lambda: clock[0])
    for _ in blocks(content, limits=Limits(time=1)):
        clock[0] += 10


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\xff\xff\xff\xffWAVE" + bytes(2**22), b"fLaC" + b"\1\0\0\0" * 2**20,
        b"RIFF\xff\xff\xff\xffWAVE" + b"aaaa\0\0\0\0" * 2**19,
    ],
    ids=["chunks of nothing", "blocks of nothing", "named chunks of nothing"],
)  # fmt: skip
def test_the_clock_runs_while_a_header_is_read(content, monkeypatch):
    class File(io.BytesIO):
        looked = 0

        def read(self, size=-1):
            self.looked += 1
            return super().read(size)

        def readinto(self, buffer):
            self.looked += 1
            return super().readinto(buffer)

    clock = itertools.count()  # each look at it takes a second
    monkeypatch.setattr("glat.data.audio.pieces.time.monotonic", lambda: next(clock))
    file = File(content)
    with pytest.raises(AudioError, match="^too slow: decoding took over 20 s, the limit .audio.limits.time."):
        list(blocks(file, limits=Limits(time=20)))
    assert file.looked <= 20


def test_what_is_done_with_each_block_in_the_decoder_s_place_is_on_its_clock(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("glat.data.audio.pieces.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("glat.data.audio.clips.count_wraps", lambda samples: clock.append(clock.pop() + 10) or 0)
    content = wav(tone(20, RATE, 1))
    for use in (partial(prepare, content, RATE, 20.0), partial(listen, content, RATE)):
        use(limits=Limits(time=1e6))
        with pytest.raises(AudioError, match="^too slow"):
            use(limits=Limits(time=9))


def atoms(content: bytes, change) -> bytes:
    """The boxes of an MP4 file, with the content that `change(name, content)` gives some."""
    out, place = b"", 0
    while place < len(content):
        size, name = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        inner = content[place + 8 : place + size]
        inner = atoms(inner, change) if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl") else change(name, inner)
        out, place = out + (len(inner) + 8).to_bytes(4, "big") + name + inner, place + size
    return out


def test_a_table_that_a_header_declares_takes_no_memory(tmp_path):
    """3 kB that would take 1 GB: FFmpeg makes an index of what the tables count before it looks for any of it."""
    count = 30_000_000
    tables = {b"stsz": (0, 1, count), b"stts": (0, 1, count, 1024), b"stsc": (0, 1, 1, count, 1), b"stco": (0, 1, 48)}
    bomb = atoms(
        encode(tmp_path / "a.m4a", tone(1)).read_bytes(),
        lambda name, inner: b"".join(n.to_bytes(4, "big") for n in tables[name]) if name in tables else inner[:2000],
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert lost(bomb).startswith(("undecodable: ", "too big: "))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert len(bomb) < 4000
    with pytest.raises(MemoryError):
        av.Packet(LARGEST + 1)


def test_whatever_a_decoder_raises_is_a_reason(monkeypatch):
    def choke(*_):
        raise KeyError("no such thing")
        yield

    monkeypatch.setattr("glat.data.audio.ffmpeg.read", choke)
    monkeypatch.setattr("glat.data.audio.sndfile.clean", lambda *_: None)
    assert lost(b"x") == "undecodable: KeyError: 'no such thing'"
    assert lost(Path("a\0b")).startswith("unreadable: ")
    for text in ("a.wav", Cut("a.wav", 0.0, 1.0)):
        with pytest.raises(TypeError, match="given as a Path or as bytes, not as text"):
            prepare(text, RATE)


def test_a_picture_that_begins_late_in_an_flv_takes_no_sound_with_it():
    """Its header says that there is sound alone; PyAV has no place for a stream that comes later."""
    out = io.BytesIO()
    with av.open(out, "w", format="flv") as container:
        put(container, container.add_stream("aac", rate=44100, layout="mono"), tone(10, 44100, 1))
    content, place = out.getvalue(), 13
    for _ in range(300):
        place += 15 + int.from_bytes(content[place + 1 : place + 4], "big")
    picture = b"\x12" + bytes(60)
    tag = b"\x09" + len(picture).to_bytes(3, "big") + content[place + 4 : place + 8] + bytes(3) + picture
    late = content[:place] + tag + len(tag).to_bytes(4, "big") + content[place:]
    np.testing.assert_array_equal(prepare(late, RATE).samples, prepare(content, RATE).samples)


def square(amplitude: float, hertz: float, noise: float = 0.0) -> np.ndarray:
    t = np.arange(4 * RATE) / RATE
    wave = amplitude * np.sign(np.sin(2 * np.pi * hertz * t)) + noise * np.random.default_rng(0).standard_normal(len(t))
    return np.clip(wave, -1, 1 - 2**-15).astype("f4")


def wrap(x: np.ndarray) -> np.ndarray:
    return ((np.rint(x * 2**15).astype(int) + 2**15) % 2**16 - 2**15).astype("f4") / 2**15


def test_wraps_are_told_from_square_waves():
    rng = np.random.default_rng(0)
    for amplitude in (0.6, 0.9, 0.98, 1.0):
        for hertz in (50, 441.7, 3000):
            for noise in (0.0, 0.003, 0.03):
                assert count_wraps(square(amplitude, hertz, noise)) == 0
    t = np.arange(4 * RATE) / RATE
    assert count_wraps(((440 * t) % 1 * 2 - 1).astype("f4")) == 0  # a sawtooth
    assert count_wraps(np.clip(rng.standard_normal(RATE), -1, 1).astype("f4")) == 0
    assert count_wraps(rng.uniform(-1, 1, RATE).astype("f4")) == 0
    brown = np.cumsum(rng.standard_normal(4 * RATE))
    brown -= np.convolve(brown, np.ones(400) / 400, "same")
    brown = brown[400:-400] / np.abs(brown[400:-400]).max()
    for gain in (1.2, 2.0):
        assert count_wraps(wrap(gain * brown)) > 0
        assert count_wraps(np.clip(gain * brown, -1, 1).astype("f4")) == 0
        for hertz in (50, 440, 601):
            crossings = 4 * hertz * 4  # out and back, on both sides
            assert count_wraps(wrap(gain * np.sin(2 * np.pi * hertz * t))) == pytest.approx(crossings, rel=0.02)
