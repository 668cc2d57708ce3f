"""The command: its steps in order, each usable by hand, and every failure one sentence with status 1."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT
from source_fixtures import step
from typer.testing import CliRunner

from glat import cli
from glat.config.runs import resolve, write_run
from glat.training import checkpoints


def glat(*arguments, cwd):
    call = [sys.executable, "-m", "glat.cli", *map(str, arguments)]
    return subprocess.run(call, cwd=cwd, check=False, capture_output=True, text=True)


def test_help_lists_the_steps_in_the_order_of_the_pipeline():
    text = CliRunner().invoke(cli.app, ["--help"]).output
    steps = ["metadata", "download", "resample", "pack", "configure", "train", "evaluate", "table1", "tag"]
    places = [text.index(f" {step} ") for step in steps]
    assert places == sorted(places)


def test_a_failure_is_one_sentence_and_status_1(tmp_path):
    done = glat("metadata", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "glat: params.yaml: no such file; run from the project's root or name it with --params\n"


HUGE = """
import pathlib
from glat import cli
def run():
    import torch
    kept = torch.ones(2**24)  # 64 MB
    print(pathlib.Path("/proc/self/smaps_rollup").read_text())
cli._run = run
cli.main()
"""


@pytest.mark.skipif(
    not (THP := Path("/sys/kernel/mm/transparent_hugepage/enabled")).exists() or "[never]" in THP.read_text(),
    reason="this machine has no transparent huge pages",
)
def test_a_command_has_its_large_tensors_in_huge_pages():
    told = subprocess.run([sys.executable, "-c", HUGE], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert int(re.search(r"AnonHugePages: +(\d+) kB", told)[1]) > 32_000


@pytest.fixture
def project(project):
    shutil.copy(ROOT / "params.yaml", project)
    return project


TINY = ["--set", "datasets.mini.splits={train: 6, eval: 4}", "--set", "datasets.mini.shard_size=6"]


def test_the_steps_by_hand_from_nothing_to_packs(project):
    # A mapping given with --set is merged key by key.
    assert step(*TINY, "metadata") is None
    for arguments in (["download", "train", 0], ["resample", "train", 0], ["pack", "train", 0]):
        assert step(*TINY, *arguments) is None
    assert (project / "data/mini/packs/train/000.h5").exists()


LISTS = ("class_labels_indices.csv", "balanced_train_segments.csv", "eval_segments.csv")
NOBODY_LISTENS = json.dumps({name: f"http://127.0.0.1:9/{name}" for name in LISTS})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "glat.tau", "metadata"], "--set glat.tau: expected KEY=VALUE"),
        (["--set", "datasets.mini.classes=17", "metadata"],
         "datasets.mini.classes: 17, but the list class_labels_indices.csv has 9"),
        (["--set", "datasets.mini.source.kind=tape", "metadata"], "datasets.mini.source.kind: 'tape' is not known"),
        (["--set", "datasets.mini.source.snr=[0, 1]", "metadata"], "datasets.mini.source: unknown key snr"),
        (["--set", "datasets.mini.source.snr_db=[1, 0]", "metadata"],
         "datasets.mini.source.snr_db: [1, 0]: give [lowest, highest]"),
        (["--set", "dataset=audioset_balanced", "--set", "datasets.audioset_balanced.metadata=audioset", "metadata"],
         "audioset/class_labels_indices.csv: cannot be read (No such file or directory); put AudioSet's lists there"),
        (["--set", "dataset=audioset_balanced", "--set", f"datasets.audioset_balanced.metadata={NOBODY_LISTENS}", "metadata"],
         "http://127.0.0.1:9/class_labels_indices.csv: cannot be fetched"),
        (["download", "train", 0], "class_labels_indices.csv"),
        (["download", "test", 0], "mini has no split 'test'; it has train, eval"),
        (["configure", "cnn12-s0"], "there is no run cnn12-s0; params.yaml asks for talnet-s0"),
        (["train", "runs/x/config.yaml"], "runs/x/config.yaml: no such file"),
        (["explain", "nowhere", "x.wav"], "nowhere/checkpoint.pt: no such checkpoint"),
        (["tag", "model.pt", "a.wav"], "model.pt: no such checkpoint"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_naming_it(project, arguments, told, monkeypatch):
    monkeypatch.setattr("glat.lib.fetching.PAUSES", ())
    sentence = step(*arguments)
    assert sentence is not None and told in sentence
    assert not (project / "data/mini/metadata").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "there/x.h5"),
        OSError(f"Can't write (filename = 'there/x.h5', errno = 28, error message = '{os.strerror(errno.ENOSPC)}')"),
    ],
)
def test_a_full_disk_is_one_sentence(project, monkeypatch, capsys, error):
    def full(*_args, **_settings):
        raise error

    (project / "there").mkdir()  # as if on another disk
    usage, free = shutil.disk_usage(project), {project / "there": 1_230_000_000}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free[path]))
    monkeypatch.setattr("glat.data.sources.synthetic.Synthetic.write_lists", full)
    monkeypatch.setattr(sys, "argv", ["glat", *TINY, "metadata"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr().err
    assert stopped.value.code == 1 and "there/x.h5: the disk is full (1.23 GB free there)" in told
    assert told.count("\n") == 1
    assert [path.name for path in project.glob("data/mini/*")] == [".metadata.lock"]


def test_a_place_that_the_system_refuses_is_one_sentence(project, monkeypatch, capsys):
    (project / "data").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["glat", *TINY, "metadata"])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert told.startswith("glat: data/mini: ") and told.count("\n") == 1


def test_settings_from_snakemake_s_command_line_reach_the_steps(project, monkeypatch):
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps({"glat": {"tau": -2}}))
    assert "glat.tau: -2" in step("metadata")


def test_tag_prints_the_best_classes_of_each_clip(corpus, project, params, capsys):
    (project / "corpus").symlink_to(corpus)
    run = resolve(params, "cnn10", 0, {"n": 2})
    classes = [{"mid": f"/m/{i}", "display_name": f"class {i}"} for i in range(16)]
    checkpoints.save(checkpoints.build(run), run, classes, 0, project / "model.pt")
    soundfile.write(project / "a.wav", np.random.default_rng(0).normal(0, 0.1, (12 * 44100, 2)), 44100)
    result = CliRunner().invoke(cli.app, ["tag", "model.pt", "a.wav", "--top", "3"])
    rows = [line.split("\t") for line in result.output.splitlines()]
    assert [row[1:3] for row in rows] == [["0.0", "10.0"]] * 3 + [["10.0", "12.0"]] * 3
    scores = [float(row[3]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True) and rows[0][4].startswith("class ")
    (project / "b.wav").write_bytes(b"")
    result = CliRunner().invoke(cli.app, ["tag", "model.pt", "b.wav", "a.wav", "--top", "3"])
    assert "b.wav: empty file" in result.output and "a.wav\t10.0\t12.0" in result.output
    assert str(result.exception) == "1 of 2 files were not tagged"
    odd = ["-dash_0.wav", "--dash.wav", "-=x.wav", "~x.wav", "a b.wav", "new\nline.wav", os.fsdecode(b"\xff.wav")]
    for name in odd:
        soundfile.write(os.fsencode(project / name), np.random.default_rng(0).normal(0, 0.1, 3000), 8000)
    os.mkfifo(project / "pipe.wav")
    result = CliRunner().invoke(cli.app, ["tag", "model.pt", *odd, "pipe.wav", "--top", "1"])
    assert "pipe.wav: unreadable: a pipe, not a file" in result.output
    assert str(result.exception) == "1 of 8 files were not tagged"
    named = [line.split(b"\t")[0] for line in result.stdout_bytes.splitlines() if b"\t" in line]
    assert named == [os.fsencode(name.replace("\n", "\\n")) for name in odd]
    assert "No such option: --tpo" in CliRunner().invoke(cli.app, ["tag", "model.pt", "a.wav", "--tpo", "1"]).output
    for mistake in (["--tpo", "3"], ["--tpo=3"], ["-t", "3"]):
        for arguments in (["-dash_0.wav", *mistake], [*mistake, "-dash_0.wav"]):
            output = CliRunner().invoke(cli.app, ["tag", "model.pt", *arguments]).output
            assert f"No such option: {mistake[0].partition('=')[0]}" in output
    output = CliRunner().invoke(cli.app, ["tag", "model.pt", "-dash_0.wav", "--top", "-3"]).output
    assert "Invalid value for '--top': Input should be greater" in output
    (project / "folder").mkdir()
    result = CliRunner().invoke(cli.app, ["tag", "model.pt", "folder"])
    assert "folder: a folder without an audio file" in str(result.exception)
    soundfile.write(project / "loud.wav", np.tile([1e20, -1e20], 4000), 8000, "FLOAT")
    result = CliRunner().invoke(cli.app, ["tag", "model.pt", "loud.wav", "a.wav", "--top", "1"])
    assert "loud.wav: too loud" in result.output and "a.wav\t10.0" in result.output and "nan" not in result.output
    limited = ["--set", "audio.limits.seconds=11", "tag", "model.pt", "a.wav", "--top", "1"]
    result = CliRunner().invoke(cli.app, limited)
    assert "a.wav: too long: over 11 s to decode, the limit (audio.limits.seconds)" in result.output


def test_a_run_is_named_by_its_folder_or_a_file_in_it(project, params):
    run = resolve(params, "cnn10", 0)
    write_run(run, run.folder / "config.yaml")
    classes = [{"mid": "m", "display_name": "M"}] * run.classes
    checkpoints.save(checkpoints.build(run), run, classes, 0, run.folder / "checkpoint.pt")
    told = f"{run.packs[0]}: no such pack"
    for name in (run.folder, run.folder / "config.yaml"):
        assert told in step("train", name)
    for name in (run.folder, run.folder / "checkpoint.pt"):
        assert step("tag", name, "nowhere.wav") == "1 of 1 files were not tagged"
        assert step("explain", name, "nowhere.wav") == "nowhere.wav: no such file"
        assert step("explain", name, "some/folder") == "some/folder: no such file"
        assert "no such pack" in step("explain", name, "nowhere_0")


@pytest.mark.parametrize(
    ("options", "told"),
    [([], "data/mini/audio/train/000: 6 clips, 0 lost\n"), (["--quiet"], ""), (["-v"], " INFO glat: ")],
)
def test_quiet_and_verbose_are_of_what_is_told_and_errors_always_are(project, options, told):
    assert step(*TINY, "metadata") is None
    done = glat(*options, *TINY, "download", "train", 0, cwd=project)
    assert done.returncode == 0 and done.stdout == ""
    assert told in done.stderr if told else not done.stderr
    done = glat(*options, "download", "test", 0, cwd=project)
    assert "glat: mini has no split 'test'" in done.stderr
    assert ("Traceback" in done.stderr) == (options == ["-v"])


def test_quiet_and_verbose_together_are_refused(project):
    assert step("--quiet", "--verbose", "metadata") == "--quiet and --verbose: give one of them"


ENDS = """
import sys, threading, time
import torch
from glat import cli
from glat.lib.logs import SENDER

def send():
    x = torch.randn(64, 64, requires_grad=True)
    while True:
        (x @ x).sum().backward()

def app():
    threading.Thread(target=send, name=SENDER, daemon=True).start()
    time.sleep(0.5)
    print("done")
    sys.exit(int(sys.argv[1]))

cli.app = app
cli.main()
"""


@pytest.mark.parametrize("status", [0, 3])
def test_a_thread_that_still_sends_does_not_abort_a_job_that_is_done(status):
    """Without a hand, the interpreter ends a thread that is in the midst of C++ by an exception that nobody catches."""
    call = [sys.executable, "-c", ENDS, str(status)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "done\n", "")
