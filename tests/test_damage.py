"""Files that were damaged, repacked, made by somebody else or cannot be opened now: one sentence, and no noise or zeros."""

import errno
import fcntl
import io
import os
import random
import subprocess
import sys
import zipfile
from itertools import pairwise

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from glat.config import runs
from glat.data.hdf5 import open_hdf5
from glat.data.packs.read import Packs
from glat.lib import files
from glat.lib.errors import GlatError
from glat.scoring.jackknife import jackknife
from glat.scoring.predictions import Influence, read_influence, read_predictions, write_influence, write_predictions
from glat.training import checkpoints

PACK = "data/mini/packs/eval/000.h5"


@pytest.fixture
def pack(corpus, tmp_path):
    """A copy of a pack that is fit to be changed."""
    path = tmp_path / "pack.h5"
    path.write_bytes((corpus / PACK).read_bytes())
    return path


def repacked(path, **layout):
    """Write `waveform` anew with the same samples in another layout, as `h5repack` does."""
    with h5py.File(path, "a") as file:
        samples = file["waveform"][:]
        del file["waveform"]
        file.create_dataset("waveform", data=samples, **layout)


@pytest.mark.parametrize(
    "layout",
    [
        {}, {"chunks": (3, 1000)}, {"chunks": (1, 320000), "compression": "gzip", "compression_opts": 1},
        *({"chunks": (1, 320000)} | way for way in ({"dtype": ">i2"}, {"shuffle": True}, {"fletcher32": True})),
    ],
)  # fmt: skip
def test_a_repacked_pack_gives_the_same_samples(corpus, pack, layout):
    repacked(pack, **layout)
    wanted = Packs(corpus / PACK).read_int16(range(12))
    np.testing.assert_array_equal(Packs(pack).read_int16(range(12)), wanted)


def replace(name, make):
    def change(file, path):
        old = file[name][...]
        del file[name]
        make(file, name, old, path)

    return change


def outside(file, name, old, path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other[name] = old
    file[name] = h5py.ExternalLink("other.h5", name)


def raw(file, name, old, path):
    old.tofile(path.with_name("raw"))
    file.create_dataset(name, old.shape, old.dtype, external=[(str(path.with_name("raw")), 0, old.nbytes)])


def virtual(file, name, old, path):
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    file.create_virtual_dataset(name, layout)


def enormous(file, name, old, path):
    file.create_dataset(name, (10**7, *old.shape[1:]), old.dtype, chunks=True, compression="gzip")


def never_written(file, name, old, path):
    file.create_dataset(name, old.shape, old.dtype, chunks=(1, *old.shape[1:]))[:-1] = old[:-1]


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("waveform", lambda f, n, old, p: f.create_dataset(n, data=old / np.float32(2**15)), "float32 .* expected"),
        ("waveform", lambda f, n, old, p: f.create_dataset(n, data=old.astype("<i4")), "int32, expected int16"),
        ("waveform", lambda f, n, old, p: f.create_dataset(n, data=old[:, :-1]), r"\(12, 319999\), expected"),
        ("waveform", lambda f, n, old, p: f.create_dataset(n, data=old[:-1]), r"\(11, 320000\), expected"),
        ("waveform", never_written, "never written"),
        ("waveform", outside, "no data of this file"),
        ("waveform", raw, "no data of this file"),
        ("waveform", virtual, "no data of this file"),
        ("waveform", lambda f, n, old, p: f.create_group(n), "no data of this file"),
        ("waveform", lambda f, n, old, p: None, "waveform is missing"),
        ("target", enormous, r"target is .*, expected"),
        ("clip", enormous, "clip should hold"),
        ("target", lambda f, n, old, p: f.create_dataset(n, data=old[:, :-1]), "target is"),
        ("start", lambda f, n, old, p: f.create_dataset(n, data=old[:-1]), "start is"),
        ("clip", lambda f, n, old, p: f.create_dataset(n, data=np.arange(12)), "clip is int64"),
    ],
)
def test_what_is_not_as_the_pack_step_writes_it_is_named(pack, name, make, message):
    with h5py.File(pack, "a") as file:
        replace(name, make)(file, pack)
    with pytest.raises(GlatError, match=rf"pack\.h5: {name}.*{message}|pack\.h5: .*{message}"):
        Packs(pack)


def hold(path):
    """A process that has the file open for writing; it prints a line once it has."""
    code = f"import h5py, sys; file = h5py.File({str(path)!r}, 'a'); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"open\n"
    return process


def test_the_real_cause_is_told_of_a_file_that_cannot_be_opened(pack, tmp_path):
    process = hold(pack)
    try:
        with pytest.raises(GlatError, match=r"pack\.h5: another process is writing it; wait"):
            Packs(pack)
    finally:
        process.communicate()
    Packs(pack)
    os.mkfifo(tmp_path / "fifo.h5")
    with pytest.raises(GlatError, match="not a regular file"):
        Packs(tmp_path / "fifo.h5")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4)); "  # one more than the standard three
    again = f"files = []\nwhile True: files.append(open_hdf5({str(pack)!r}, '', 'delete it'))"
    code = f"from glat.data.hdf5 import open_hdf5; {limit}{again}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "pack.h5: Too many open files; the file may be whole" in done.stderr and "delete it" not in done.stderr


def test_a_file_system_without_locks_costs_a_warning_and_no_more(pack, tmp_path, monkeypatch, capsys):
    """As on a network file system whose server keeps no locks: `flock` and HDF5's own attempt fail with ENOLCK."""
    opened, real = [], h5py.File

    def without_locks(path, mode, locking=None, **options):
        if locking:
            raise OSError(errno.ENOLCK, "Unable to synchronously open file (unable to lock file, errno = 37)")
        opened.append(real(path, mode, locking=locking, **options))
        return opened[-1]

    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.locked(tmp_path / "a/.lock", "waiting") as waited:
        assert not waited
    with files.locked(tmp_path / "a/.lock", "waiting"):
        pass
    said = capsys.readouterr().err
    assert said.count("keeps no locks (No locks available)") == 1 and str(tmp_path / "a") in said
    monkeypatch.setattr(h5py, "File", without_locks)
    with open_hdf5(pack, "", "") as file:
        assert "waveform" in file
    assert len(opened) == 1


def mutations(content: bytes, count: int, seed: int):
    """Cut, overwritten, filled and doubled copies of a file's bytes."""
    draw = random.Random(seed)
    for _ in range(count):
        place, size = draw.randrange(len(content)), draw.choice([1, 4, 64, 4096])
        kind = draw.choice(["cut", "flip", "fill", "insert"])
        if kind == "cut":
            yield content[:place]
        elif kind == "flip":
            yield content[:place] + draw.randbytes(min(size, len(content) - place)) + content[place + size :]
        elif kind == "fill":
            yield content[:place] + bytes(min(size, len(content) - place)) + content[place + size :]
        else:
            yield content[:place] + draw.randbytes(size) + content[place:]


def reads_or_says(path, read, content, count, seed=0):
    """`read` each mutation: it gives something or a GlatError of one line that names the file. Returns how many it refused."""
    said = []
    for mutation in mutations(content, count, seed):
        path.write_bytes(mutation)
        try:
            read(path)
        except GlatError as error:
            said.append(str(error))
    assert all(path.name in text and "\n" not in text for text in said), said
    return len(said)


def small_pack(path):
    """The pack with waveforms of a few samples, so that damage hits what describes them."""
    with h5py.File(path, "a") as file:
        del file["waveform"]
        file.create_dataset("waveform", data=np.ones((12, 32), "<i2"), chunks=(1, 32))
        file.attrs["clip_seconds"] = 0.001
    with h5py.File(path) as old, h5py.File(path.with_name("small.h5"), "w") as new:
        for name in old:
            old.copy(name, new)
        new.attrs.update(old.attrs)
    return path.with_name("small.h5").read_bytes()


def test_damaged_packs_are_read_or_named(pack, tmp_path):
    content = small_pack(pack)
    assert reads_or_says(tmp_path / "odd.h5", lambda path: Packs(path).read(range(12)), content, 150) > 20


def test_damaged_predictions_are_read_or_named(tmp_path):
    rng, classes = np.random.default_rng(0), pd.DataFrame({"mid": list("abc"), "display_name": list("ABC")})
    scores = {name: rng.random((5, 3), np.float32) for name in ("fused", "global", "local")}
    scores["windows"] = rng.random((5, 2))
    path = tmp_path / "predictions.h5"
    write_predictions(path, scores, np.array(list("vwxyz"), object), rng.random((5, 3)) < 0.5, classes)
    kept = read_predictions(path)
    np.testing.assert_array_equal(kept["fused"], scores["fused"])
    assert reads_or_says(path, read_predictions, path.read_bytes(), 150) > 20
    for name, value in (("fused", np.zeros((5, 2))), ("clip", np.zeros(5)), ("target", np.zeros((4, 3)))):
        write_predictions(path, scores, np.array(list("vwxyz"), object), rng.random((5, 3)) < 0.5, classes)
        with h5py.File(path, "a") as file:
            del file[name]
            file[name] = value
        with pytest.raises(GlatError, match=rf"predictions\.h5: {name} is"):
            read_predictions(path)


def test_damaged_influences_are_read_or_named(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "influence.npz"
    target, score = rng.random((20, 3)) < 0.5, rng.random((20, 3))
    write_influence(path, Influence("abc", {"fused": jackknife(target, score)}))
    read_influence(path)
    assert reads_or_says(path, read_influence, path.read_bytes(), 150) > 20
    claim = io.BytesIO()
    np.lib.format.write_array_header_1_0(claim, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version.npy", claim.getvalue())
    with pytest.raises(GlatError, match=r"influence\.npz: missing, damaged"):
        read_influence(path)


def test_damaged_settings_and_checkpoints_are_read_or_named(params, tmp_path):
    run = runs.resolve(params, "talnet", 0).model_copy(update={"width": 0.02, "classes": 2})
    config, checkpoint = tmp_path / "config.yaml", tmp_path / "checkpoint.pt"
    runs.write_run(run, config)
    assert reads_or_says(config, runs.read_run, config.read_bytes(), 200) > 20
    classes = [{"mid": mid, "display_name": mid} for mid in "ab"]
    checkpoints.save(checkpoints.untrained(run), run, classes, 1, checkpoint)
    assert reads_or_says(checkpoint, checkpoints.load, checkpoint.read_bytes(), 60) > 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000, "nested deeper|not valid YAML"),
        ("a: &a [x, x]\n" + "\n".join(f"{c}: &{c} [*{b}, *{b}, *{b}, *{b}]" for b, c in pairwise("abcdefghijklmn")), "config"),
        ("x" * (2**20 + 1), "longer than"),
        ("- 1\n- 2\n", "config"),
        ("\x00", "not valid YAML"),
    ],
)  # fmt: skip
def test_settings_that_are_a_trap_are_refused_at_once(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(GlatError, match=rf"config\.yaml: .*(?:{message})|{message}") as refused:
        runs.read_run(path)
    assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)


def test_a_checkpoint_that_claims_a_huge_network_allocates_none(params, tmp_path):
    """Its width asks for 10 TB; the weights that it has are compared before that network is made."""
    run = runs.resolve(params, "cnn10", 0).model_copy(update={"width": 0.02, "classes": 2})
    tagger = checkpoints.untrained(run)
    classes = [{"mid": mid, "display_name": mid} for mid in "ab"]
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(tagger, run.model_copy(update={"width": 1000.0}), classes, 1, path)
    with pytest.raises(GlatError, match=r"checkpoint\.pt: checkpoint of another network"):
        checkpoints.load(path)
    for wrong in (classes[:1], ["a", "b"], None, [{"mid": 1, "display_name": "x"}] * 2):
        checkpoints.save(tagger, run, wrong, 1, path)
        with pytest.raises(GlatError, match=r"checkpoint\.pt: its class list"):
            checkpoints.load(path)
