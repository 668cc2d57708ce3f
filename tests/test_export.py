"""A trained run as an ONNX file: what onnxruntime says of it is what PyTorch says, whatever is asked of both."""

import json
import shutil

import numpy as np
import onnx
import pytest
import soundfile
import torch
from conftest import ROOT, TINY
from typer.testing import CliRunner

from glat import cli
from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.config.settings import Evaluation
from glat.config.training import Execution
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.models import build
from glat.scoring import evaluation
from glat.training import checkpoints
from glat.use import onnx_export, onnx_file
from glat.use.onnx_file import Agreement, OnnxTagger, compare, reduce

SECONDS, RATE = 10.0, 32000
GLAT = {"suppress": True, "extra_taus": [1.5]}
PACK = "data/mini/packs/eval/000.h5"


@pytest.fixture(scope="module")
def exported(corpus, tmp_path_factory):
    """A project with one run, evaluated and exported by the command, and a sound: its folder and the command's output."""
    root = tmp_path_factory.mktemp("exported")
    (root / "data").symlink_to(corpus / "data")
    shutil.copy(ROOT / "params.yaml", root)
    params = load(ROOT / "params.yaml", TINY)
    run = resolve(params, "cnn10", 0, GLAT)
    torch.manual_seed(0)
    classes = Packs(root / PACK).classes[["mid", "display_name"]].to_dict("records")
    tagger = checkpoints.build(run, classes).eval()
    for part in tagger.modules():  # scores that differ, as a trained network's do
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1), part.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        tagger.network.global_stream.fc_audioset.weight.mul_(4), tagger.network.local_stream.fc_audioset.weight.mul_(4)
    soundfile.write(root / "short.wav", np.random.default_rng(0).normal(0, 0.1, 50000), 44100)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        checkpoints.save(tagger, run, classes, 6, run.folder / "checkpoint.pt")
        write_run(run, run.folder / "config.yaml")
        packs = [PACK]
        how = {"execution": Execution(accelerator="cpu", precision="float32", workers=0)}
        evaluation.evaluate(run.folder / "checkpoint.pt", packs, Evaluation(), run.folder, **how)
        settings = [f"--set={key}={json.dumps(value)}" for key, value in TINY.items()]
        command = [*settings, "export", str(run.folder), "--sound", "short.wav", "--license", "cc0-1.0"]
        done = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return root, run, done


def test_the_command_writes_a_file_that_says_what_it_is(exported):
    root, run, done = exported
    out = root / run.folder / "export" / f"{run.name}.onnx"
    assert done.stdout.strip() == str(out.relative_to(root)) and "evaluation packs and 1 recording" in done.stderr
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    facts = {one.key: one.value for one in model.metadata_props}
    assert (
        facts["sample_rate"] == str(RATE) and facts["licence"] == "cc0-1.0" and len(json.loads(facts["classes"])) == 16
    )
    assert facts["checkpoint"] == checkpoints.restore(root / run.folder / "checkpoint.pt").digest
    assert float(facts["frame_seconds"]) == pytest.approx(16 * run.hop / 32000)
    assert json.loads(facts["window_seconds"]) == [run.glat.tau, 1.5] and facts["windows_of_each_length"] == "5"
    assert [one.name for one in model.graph.output] == ["scores", "frame_scores", "windows", "window_classes"]


def test_onnxruntime_and_pytorch_agree_in_scores_frames_and_windows(exported):
    root, run, _ = exported
    network = OnnxTagger(root / run.folder / "export" / f"{run.name}.onnx")
    tagger = checkpoints.load(root / run.folder / "checkpoint.pt")[0]
    packs = Packs(root / PACK)
    waveform = torch.from_numpy(packs.read(np.arange(5)))  # another batch than it was exported with
    with torch.inference_mode():
        streams, time = tagger.timeline(waveform)
    found = network.outputs(waveform)
    for name, expected in (("scores", streams.fused), ("frame_scores", time.fused), ("windows", streams.windows)):
        np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-4, rtol=0, err_msg=name)
    assert (found["window_classes"] == streams.classes.numpy()).all() and np.ptp(found["windows"]) > 1
    assert compare(tagger, network, waveform)[1:] == (5, 5)
    as_stored = torch.from_numpy(packs.read_int16(np.arange(2)))
    assert np.array_equal(network.outputs(as_stored)["scores"], network.outputs(waveform[:2])["scores"])
    silence = network.outputs(torch.zeros(1, waveform.shape[1]))["scores"]
    with torch.inference_mode():
        np.testing.assert_allclose(silence, tagger(torch.zeros(1, waveform.shape[1])).numpy(), atol=1e-2)
    other = checkpoints.load(root / run.folder / "checkpoint.pt")[0]
    other.network.local_stream.fc_audioset.bias.data += 0.01  # the comparison sees a network that is another
    assert compare(other, network, waveform).scores > onnx_export.TOLERANCE


@pytest.mark.parametrize(("precision", "smaller"), [("float16", 0.8), ("int8", 0.8)])
def test_a_smaller_file_scores_much_the_same(exported, tmp_path, precision, smaller):
    root, run, _ = exported
    before = root / run.folder / "export" / f"{run.name}.onnx"
    model = reduce(onnx.load(before), precision, tmp_path)
    onnx.save(model, tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").stat().st_size < smaller * before.stat().st_size
    waveform = torch.from_numpy(Packs(root / PACK).read(np.arange(4)))
    exact, small = (OnnxTagger(path).outputs(waveform)["scores"] for path in (before, tmp_path / "small.onnx"))
    difference = np.abs(exact - small).max()
    assert 0 < difference < (0.01 if precision == "float16" else 0.1)


def test_a_precision_that_costs_too_much_is_refused_and_leaves_no_file(exported, monkeypatch):
    root, run, _ = exported
    monkeypatch.chdir(root)
    checkpoint = checkpoints.restore(run.folder / "checkpoint.pt")
    good = run.folder / "export" / f"{run.name}.onnx"
    monkeypatch.setattr(onnx_file, "translate", lambda *_, **__: onnx.load(good))
    out = root / "out/small.onnx"
    onnx_export.write(checkpoint, run.folder, out, packs=[PACK], precision="float16")
    assert out.exists()

    def worse(model, *_):
        for weight in model.graph.initializer:
            if weight.name.endswith("fc_audioset.weight"):
                values = -onnx.numpy_helper.to_array(weight)  # what was likely is not
                weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return model

    monkeypatch.setattr(onnx_file, "reduce", worse)
    out.unlink()
    with pytest.raises(GlatError, match=r"mAP on the 12 evaluation clips moves from .* not written"):
        onnx_export.write(checkpoint, run.folder, out, packs=[PACK], precision="int8")
    assert list(out.parent.iterdir()) == []
    other = checkpoint._replace(digest="of another")
    onnx_export.write(
        other, run.folder, out, packs=[PACK], precision="int8"
    )  # told alone: there is nothing to compare with


def test_a_file_that_disagrees_is_not_written():
    with pytest.raises(GlatError, match=r"on noise, .* 0\.02 from .* 4 of 4 clips .* not written"):
        onnx_export._check(Agreement(0.02, 4, 4), "noise")
    with pytest.raises(GlatError, match="windows of 1 of 4"):
        onnx_export._check(Agreement(0.0, 1, 4), "noise")
    with pytest.raises(GlatError, match="scores are up to nan"):
        onnx_export._check(Agreement(float("nan"), 4, 4), "noise")
    onnx_export._check(Agreement(9e-5, 3, 4), "noise")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--opset", "12"], r"--opset 12: allowed are 18 to 23"),
        (["--opset", "99"], r"--opset 99"),
        (["--license", "mine\n"], "--license 'mine"),
        (["--onnx", "."], r"--onnx \.: a folder"),
        (["--sound", "none.wav"], "none.wav"),
        (["--hub", "new", "--precision", "int8"], "--precision: of the ONNX file alone"),
        (["--hub", "new", "--dynamic"], "--dynamic: of the ONNX file alone"),
        (["--hub", "."], r"--hub \.: the folder that you are in would be replaced"),
    ],
)
def test_what_cannot_be_is_one_sentence(exported, monkeypatch, arguments, message):
    root, run, _ = exported
    monkeypatch.chdir(root)
    with pytest.raises(GlatError, match=message) as told:
        CliRunner().invoke(cli.app, ["export", str(run.folder), *arguments], catch_exceptions=False)
    assert "\n" not in str(told.value)


def test_random_windows_are_refused():
    with pytest.raises(GlatError, match="--onnx: its windows are random"):
        onnx_file.translate(build("cnn10", 16, 0.125, glat={"selection": "random"}).eval(), 320000, 18)
