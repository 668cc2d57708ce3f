import io
import math
import subprocess

import av
import imageio_ffmpeg
import librosa
import numpy as np
import pytest
import soundfile
from data_fixtures import ENCODERS, adts, encode, tone, written

from glat.data.audio import sndfile as by_sndfile
from glat.data.audio.clips import AudioError, Cut, decode, prepare, statistics, to_int16
from glat.data.audio.frames import Decoding
from glat.data.audio.headers import wav_seconds


@pytest.fixture(scope="module")
def audio():
    return tone()


@pytest.mark.parametrize("suffix", ENCODERS)
def test_every_format(tmp_path, audio, suffix):
    path = encode(tmp_path / f"a b:ü%03d{suffix}", audio)
    samples, rate, found, _ = prepare(path, 32000, 10.0)
    assert samples.shape == (320000,) and samples.dtype == np.int16
    assert rate == (48000 if suffix in (".opus", ".webm") else 44100)
    assert abs(found - 10) < 0.06
    # Priming that is not skipped would shift the clip by 20 to 60 ms, and undo this correlation.
    wanted = librosa.resample(audio.mean(axis=0), orig_sr=44100, target_sr=32000)
    got = samples[: len(wanted)] / 32768
    assert np.corrcoef(got, wanted)[0, 1] > 0.99
    for source in (path.read_bytes(), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(prepare(source, 32000, 10.0)[0], samples)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".ogg"])
@pytest.mark.parametrize("rate", [8000, 32000, 44100, 48000])
def test_resampling_is_librosas(tmp_path, suffix, rate):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, tone(3, rate).T, rate)
    wanted = librosa.util.fix_length(librosa.load(path, sr=32000, mono=True)[0], size=128000) * 32768
    assert np.abs(prepare(path, 32000, 4.0)[0] - wanted).max() <= 1.0


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats(tmp_path, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1).T, 44100, subtype)
    wanted = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    decoded = decode(path)
    assert decoded.samples.dtype == np.float32 and decoded.rate == 44100
    np.testing.assert_allclose(decoded.samples, wanted, atol=1e-7)


def test_int16_survives_unchanged(tmp_path):
    values = np.array([-32768, -32767, -1, 0, 1, 32766, 32767] * 5000, np.int16)
    soundfile.write(tmp_path / "a.wav", values, 32000)
    np.testing.assert_array_equal(prepare(tmp_path / "a.wav", 32000, 1.0)[0][: len(values)], values[:32000])


def test_loud_float_is_clipped_not_wrapped(tmp_path):
    loud = 3 * np.sin(np.arange(32000) / 50).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", loud, 32000, "FLOAT")
    samples = prepare(tmp_path / "a.wav", 32000, 1.0)[0]
    assert samples.max() == 32767 and samples.min() == -32768
    assert (np.sign(samples[samples != 0]) == np.sign(loud[samples != 0])).all()
    assert to_int16(np.float32([0.5 / 32768, 1.6 / 32768, 1.0, -1.0]), 5).tolist() == [0, 2, 32767, -32768, 0]


def test_six_channels_are_averaged(tmp_path):
    channels = tone(1, 32000, 6)
    soundfile.write(tmp_path / "a.wav", channels.T, 32000, "FLOAT")
    samples = prepare(tmp_path / "a.wav", 32000, 1.0)[0]
    assert np.abs(samples - channels.mean(axis=0) * 32768).max() <= 0.51
    assert prepare(encode(tmp_path / "a.m4a", tone(1, 44100, 6)), 32000, 1.0)[0].any()


def test_short_is_padded_and_slightly_long_is_cut(tmp_path):
    for seconds in (0.6, 10.4):
        soundfile.write(tmp_path / "a.wav", tone(seconds, 16000, 1)[0], 16000)
        samples, _, found, _ = prepare(tmp_path / "a.wav", 32000, 10.0)
        assert len(samples) == 320000 and found == pytest.approx(seconds)
        assert samples[round(min(seconds, 10) * 32000) + 10 :].any() == 0


@pytest.mark.parametrize(("seconds", "reason"), [(0.2, "^too short: 0.2"), (30, "^too long: over 11 s")])
@pytest.mark.parametrize("suffix", [".flac", ".m4a"])
def test_wrong_length(tmp_path, seconds, reason, suffix):
    with pytest.raises(AudioError, match=reason):
        prepare(encode(tmp_path / f"a{suffix}", tone(seconds)), 32000, 10.0)


@pytest.mark.parametrize("suffix", ENCODERS)
def test_truncated(tmp_path, audio, suffix):
    # The index in front, as a downloader leaves it; at the end, a cut m4a does not open at all.
    options = {"movflags": "faststart"} if suffix in (".m4a", ".mp4") else None
    whole = encode(tmp_path / f"a{suffix}", audio, options=options)
    (tmp_path / f"cut{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(AudioError, match="^truncated"):
        prepare(tmp_path / f"cut{suffix}", 32000, 10.0)


def test_truncated_without_its_index(tmp_path, audio):
    whole = encode(tmp_path / "a.m4a", audio)
    (tmp_path / "cut.m4a").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(AudioError, match="^undecodable"):
        prepare(tmp_path / "cut.m4a", 32000, 10.0)


def test_no_audio(tmp_path, capfd):
    def reason(name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError) as error:
            prepare(tmp_path / name, 32000, 10.0)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert reason("empty.wav", b"") == "empty file"
    assert reason("page.m4a", b"<!DOCTYPE html><html><body>Sign in</body></html>" * 50).startswith("undecodable: a web")
    assert reason("noise.mp3", np.random.default_rng(0).bytes(50000)).startswith("undecodable")
    assert reason("list.m4a", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n/etc/passwd\n").startswith("undecodable")
    for level in (0.0, 2e-5):
        assert reason("hush.wav", written(np.full(320000, level), 32000, "FLOAT")).startswith("silent")
    odd = tone(10, 32000, 1)[0]
    for value in (np.nan, np.inf):
        odd[1234] = value
        assert reason("odd.wav", written(odd, 32000, "FLOAT")).startswith("not finite")
    with pytest.raises(AudioError, match="^missing"):
        prepare(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="^unreadable"):
        prepare(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_video_without_sound(tmp_path):
    with av.open(str(tmp_path / "v.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        out.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio stream"):
        prepare(tmp_path / "v.mp4")


def test_a_codec_that_nobody_knows(tmp_path):
    content = bytearray(written(tone(1.0), 44100, "PCM_16"))
    at = content.find(b"fmt ") + 8
    content[at : at + 2] = (0x9999).to_bytes(2, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="undecodable"):
        prepare(tmp_path / "a.wav")


@pytest.mark.parametrize("comment", [b"ICMT" * 2001, b"a data\x10\x00\x00\x00 point"])
def test_a_wav_with_a_comment_before_its_samples(tmp_path, comment):
    """Its length is that of the chunk `data`, however far behind, and not of the word in a comment."""
    plain = written(tone(40, 8000, 1)[0], 8000)
    at = plain.find(b"data")
    chunk = b"LIST" + len(comment).to_bytes(4, "little") + comment + bytes(len(comment) % 2)
    whole = plain[:at] + chunk + plain[at:]
    (tmp_path / "a.wav").write_bytes(whole)
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) * 9 // 40])
    with open(tmp_path / "a.wav", "rb") as file:
        file.seek(7)
        assert wav_seconds(file) == 40 and file.tell() == 7
    assert wav_seconds(io.BytesIO(b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128) + whole)) == 40
    assert wav_seconds(io.BytesIO(plain[:at] + bytes(9999))) is None
    assert decode(tmp_path / "a.wav").samples.shape == (1, 320_000)
    with pytest.raises(AudioError, match="^truncated: [89].[0-9]+ of 40.00 s decoded"):
        prepare(Cut(tmp_path / "cut.wav", 30.0, 10.0, or_whole=True))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A recording of 20 s in every format."""
    folder = tmp_path_factory.mktemp("recordings")
    return {suffix: encode(folder / f"a{suffix}", tone(20)) for suffix in ENCODERS}


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_cut_is_what_decoding_from_the_beginning_gives(recordings, suffix):
    whole = decode(recordings[suffix])
    for start in (0.0, 0.7, 7.03, 14.5):
        cut = decode(Cut(recordings[suffix], start, 3.0))
        assert cut.samples.shape == (2, 3 * whole.rate)
        first = round(start * whole.rate)
        slack = whole.rate // 1000 if suffix == ".webm" else 0  # its times are in whole milliseconds
        places = range(max(first - slack, 0), first + slack + 1)
        # Opus decodes from another state: equal to the last bits of a float.
        assert any(np.abs(cut.samples - whole.samples[:, at : at + 3 * whole.rate]).max() < 1e-6 for at in places)


@pytest.mark.parametrize("suffix", [".m4a", ".flac", ".webm", ".ogg"])
def test_a_cut_does_not_decode_what_is_before_it(recordings, suffix, monkeypatch):
    monkeypatch.setattr(by_sndfile, "clean", lambda *_: None)
    read = []
    packets = Decoding._packets
    monkeypatch.setattr(Decoding, "_packets", lambda self: (read.append(p) or p for p in packets(self)))
    decode(Cut(recordings[suffix], 15.0, 1.0))
    seeking = len(read)
    decode(recordings[suffix], 16.0)
    assert 0 < seeking < 0.5 * (len(read) - seeking)


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_recording_that_ends_before_the_cut(recordings, suffix):
    with pytest.raises(AudioError, match=r"^too short: 20\.\d\d s, the clip starts at 30 s$"):
        decode(Cut(recordings[suffix], 30.0, 10.0))
    # One that ends within the cut gives what it has: a segment may reach over its video's end.
    assert prepare(Cut(recordings[suffix], 15.0, 10.0), 32000, 10.0)[2] == pytest.approx(5.0, abs=0.06)


@pytest.mark.parametrize("suffix", ENCODERS)
def test_half_a_recording(recordings, suffix, tmp_path):
    options = {"movflags": "faststart"} if suffix in (".m4a", ".mp4") else None
    whole = encode(tmp_path / f"a{suffix}", tone(20), options=options)
    (tmp_path / f"cut{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(AudioError, match="^(truncated|too short)"):
        prepare(Cut(tmp_path / f"cut{suffix}", 15.0, 4.0), 32000, 4.0)


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_clip_that_may_be_cut_already(recordings, suffix, tmp_path):
    clip = encode(tmp_path / f"clip{suffix}", tone(4.5))
    taken = decode(Cut(clip, 30.0, 4.0, or_whole=True))
    np.testing.assert_array_equal(taken.samples, decode(clip).samples)
    # Not longer than a clip may be, but it reaches to the very end of the segment: a whole video, cut.
    video = encode(tmp_path / f"video{suffix}", tone(4.8))
    taken = decode(Cut(video, 0.8, 4.0, or_whole=True))
    np.testing.assert_array_equal(taken.samples, decode(Cut(video, 0.8, 4.0)).samples)
    taken = decode(Cut(recordings[suffix], 7.03, 4.0, or_whole=True))
    np.testing.assert_array_equal(taken.samples, decode(Cut(recordings[suffix], 7.03, 4.0)).samples)


def test_a_recording_whose_length_only_decoding_tells(tmp_path):
    for seconds, whole in ((4.5, True), (20, False)):
        (tmp_path / "a.aac").write_bytes(adts(encode(tmp_path / "a.m4a", tone(seconds))))
        taken = decode(Cut(tmp_path / "a.aac", 7.0, 4.0, or_whole=True))
        everything = decode(tmp_path / "a.aac").samples
        wanted = everything if whole else everything[:, 7 * 44100 : 11 * 44100]
        np.testing.assert_array_equal(taken.samples, wanted)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_begins_behind_the_picture_is_cut_by_the_time_of_the_picture(tmp_path, suffix):
    heard = encode(tmp_path / "a.m4a", tone(20))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=s=32x32:r=5:d=22"]
    command += ["-itsoffset", "2", "-i", heard, "-c:v", "mpeg4", "-c:a", "copy", tmp_path / f"video{suffix}"]
    subprocess.run(command, check=True)
    video, whole = tmp_path / f"video{suffix}", np.pad(decode(heard).samples, ((0, 0), (2 * 44100, 0)))

    def is_cut_from(samples, start):
        # Matroska's times are in milliseconds. AAC fills what it leaves out with noise, which depends on the past.
        first = round(start * 44100)
        places = range(first - 44, first + 45) if suffix == ".mkv" else [first]
        found = [np.abs(samples - whole[:, at : at + samples.shape[1]]).max() for at in places]
        return samples.shape == (2, 3 * 44100) and min(found) < 0.03

    begins = decode(Cut(video, 1.0, 4.0)).samples
    assert is_cut_from(begins[:, 44100:], 2.0) and not begins[:, : 44100 - 1024].any()
    for start in (2.5, 7.03, 14.5):
        cut = decode(Cut(video, start, 3.0))
        assert is_cut_from(cut.samples, start)
    with pytest.raises(AudioError, match="^silent"):
        prepare(Cut(video, 0.0, 1.5), 32000, 1.5)
    with pytest.raises(AudioError, match=r"^too short: 2[12]\.\d\d s, the clip starts at 30 s$"):
        decode(Cut(video, 30.0, 10.0))
    assert prepare(Cut(video, 15.0, 10.0), 32000, 10.0)[2] == pytest.approx(7.0, abs=0.06)
    # The sound alone is short enough to be a clip of 19 s; with the silence before it, it is a video.
    assert is_cut_from(decode(Cut(video, 2.2, 19.5, or_whole=True)).samples[:, : 3 * 44100], 2.2)


@pytest.mark.parametrize("channels", [1, 2, "opposite"])
def test_a_long_recording_is_as_a_short_one_is(tmp_path, monkeypatch, channels):
    """Block by block and decoded twice, against all at once: to a step of int16, where soxr rounds otherwise."""
    path = tmp_path / "long.wav"
    audio = tone(20.0, 22050, 1 if channels == 1 else 2, 3)
    if channels == "opposite":
        audio[1] = -audio[0]
    soundfile.write(path, audio.T, 22050)
    whole = prepare(path, 32000, 2.0, longest=math.inf)
    monkeypatch.setattr("glat.data.audio.clips.LONG", 5.0)
    monkeypatch.setattr("glat.data.audio.clips.CHUNK", 100_000)
    parts = prepare(path, 32000, 2.0, longest=math.inf)
    assert len(parts.samples) == len(whole.samples) == 640_000 and parts.seconds == whole.seconds == 20.0
    assert np.abs(parts.samples.astype(int) - whole.samples).max() <= 1
    assert len(prepare(path, 32000, 2.0, longest=19.5).samples) == 624_000
    soundfile.write(path, np.zeros((200_000, 1)), 22050)
    with pytest.raises(AudioError, match="silent"):
        prepare(path, 32000, 2.0, longest=math.inf)


def test_statistics_of_a_long_clip_are_those_of_all_of_it(monkeypatch):
    samples = (np.random.default_rng(0).normal(size=250_000) * 9000).astype(np.int16)
    whole = statistics(samples)
    monkeypatch.setattr("glat.data.audio.clips.CHUNK", 60_000)
    np.testing.assert_allclose(statistics(samples), whole, rtol=1e-5, atol=1e-7)
