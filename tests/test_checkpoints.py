"""Checkpoints: what is written comes back bit for bit, and a file that does not fit is refused in one sentence."""

import os
import pickle
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from glat.config.runs import Run, read_run, resolve
from glat.lib.errors import GlatError
from glat.models import LogMel, backbone_class, build
from glat.models.transfer import class_axes
from glat.training import checkpoints, stage
from glat.training.resume import ResumePoint

CLASSES = [{"mid": f"/m/{i}", "display_name": f"Class {i}"} for i in range(14)]


def run_of(params, backbone="cnn10", glat=None, **changes) -> Run:
    run = resolve(params, backbone, 0, glat)
    return run.model_copy(update={"init": {}, "classes": len(CLASSES)} | changes)


def waveform() -> torch.Tensor:
    return 0.1 * torch.randn(2, 4 * 32000, generator=torch.Generator().manual_seed(0))


def trained(run: Run):
    """A network whose weights and statistics are not those it starts with."""
    torch.manual_seed(1)
    tagger = checkpoints.untrained(run)
    with torch.no_grad():
        for parameter in tagger.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        tagger.train().streams(waveform())
    return tagger.eval()


@pytest.fixture
def saved(params, tmp_path):
    """A function: settings of a run -> path of its checkpoint, and the network in it."""

    def save(backbone="cnn10", glat=None, **changes):
        run = run_of(params, backbone, glat, **changes)
        tagger, path = trained(run), tmp_path / f"{backbone}.pt"
        checkpoints.save(tagger, run, CLASSES, 7, path)
        return path, tagger

    return save


@contextmanager
def refused(path, told=None):
    """In one sentence that names the file."""
    with pytest.raises(GlatError, match=told) as error:
        yield
    assert str(path) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
@pytest.mark.parametrize("glat", [None, {"n": 2, "tau": 1.5}, {"tau": 1.5, "sharing": "classifier"}])
def test_a_network_comes_back_with_the_same_outputs_bit_for_bit(saved, params, backbone, glat):
    path, tagger = saved(backbone, glat)
    loaded, run, classes = checkpoints.load(path)
    assert not loaded.training and classes == CLASSES and run == run_of(params, backbone, glat)
    with torch.no_grad():
        for ours, theirs in zip(loaded.streams(waveform()), tagger.streams(waveform()), strict=True):
            assert (ours is None and theirs is None) or torch.equal(ours, theirs)
    assert loaded.parameter_count() == tagger.parameter_count()
    assert not list(path.parent.glob(".*"))


def test_channels_last_training_comes_back_with_equal_weights(params, tmp_path):
    run = run_of(params)
    tagger = trained(run).to(memory_format=torch.channels_last)
    checkpoints.save(tagger, run, CLASSES, 7, tmp_path / "c.pt")
    loaded = checkpoints.load(tmp_path / "c.pt")[0].state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in tagger.state_dict().items())


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=2))])
def test_pickled_code_is_refused_and_not_executed(tmp_path, write):
    path, mark = tmp_path / "bomb.pt", tmp_path / "executed"
    write({"glat": 1, "model": {"w": torch.zeros(2)}, "run": Bomb(mark)}, path)
    with refused(path, "not loaded"):
        checkpoints.load(path)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_cut_or_damaged_anywhere_is_refused(saved, tmp_path):
    content = saved()[0].read_bytes()
    path, rng = tmp_path / "cut.pt", np.random.default_rng(0)
    # Among them: bytes that torch's reader answers with IndexError and struct.error.
    damaged = [content[: int(len(content) * share)] for share in (0, 0.0001, 0.01, 0.5, 0.9, 0.999)]
    damaged += [
        b"PK\x03\x04", b"a,b\n1,2\n", b"\x80\x02", b"\x00" * 1000, rng.bytes(5000),
        *(rng.bytes(1 + i % 30) for i in range(300)),
    ]  # fmt: skip
    for part in damaged:
        path.write_bytes(part)
        with refused(path):
            checkpoints.load(path)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    for path, told in ((tmp_path / "none.pt", "no such checkpoint"), (tmp_path, "a folder, not a file")):
        with refused(path, told):
            checkpoints.load(path)


def test_what_the_system_refuses_is_not_called_damaged(tmp_path):
    """Advice to train again would cost days. A link to itself is refused to root too."""
    (loop := tmp_path / "loop.pt").symlink_to(loop)
    with pytest.raises(GlatError, match="cannot be read .Too many levels of symbolic links.; the file may be whole"):
        checkpoints.read(loop)
    (tmp_path / "resume.ckpt").mkdir()
    with pytest.raises(GlatError, match="resume.ckpt: a folder, not a file"):
        ResumePoint(tmp_path / "resume.ckpt", {}, steps=1, every=1, keep=False).step()


def test_a_run_that_is_not_there_is_told_with_those_that_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abcde":
        (folder := Path(f"runs/mini/{name}-s0")).mkdir(parents=True)
        for file in ("checkpoint.pt", "config.yaml"):
            (folder / file).touch()
    others = "runs/mini has a-s0, b-s0, c-s0, d-s0 and others; `snakemake runs/mini/x-s0/checkpoint.pt` trains a run"
    with pytest.raises(GlatError, match=f"runs/mini/x-s0/checkpoint.pt: no such checkpoint; {others}"):
        checkpoints.read("runs/mini/x-s0/checkpoint.pt")
    told = f"runs/mini/x-s0/config.yaml: no such file; `glat configure` writes it; {others}"
    with pytest.raises(GlatError, match=told):
        read_run("runs/mini/x-s0/config.yaml")


def without(*keys):
    return lambda content: [content.pop(key) for key in keys]


def replaced(**values):
    return lambda content: content.update(values)


def with_a_bad_setting(content):
    content["run"]["glat"] = {"tau": 0.01}
    content["model"] = {k.replace("network.", "network.global_stream."): v for k, v in content["model"].items()}


def of_audio(**values):
    return lambda content: content["run"]["audio"].update(values)


def of_run(**values):
    return lambda content: content["run"].update(values)


def of_weights_that_are_none(content):
    content["model"]["network.fc1.bias"][0] = torch.nan


def of_a_lost_weight(content):
    del content["model"]["network.fc1.bias"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replaced(glat=2), "version 2, expected 1"),
        (without("glat"), "version None, expected 1"),
        (of_run(backbone="talnet"), "another network"),
        (of_run(width=0.5), "another network"),
        (of_run(width=float("inf")), "run.width: inf is not allowed"),
        (of_run(width=float("nan")), "run.width: nan is not allowed"),
        (of_run(width=1e9), "run is of a network that cannot be made"),
        (of_run(width=1e300), "run is of a network that cannot be made"),
        (of_audio(sample_rate=10**9), "run.audio.sample_rate: 1000000000 is not allowed"),
        (of_audio(clip_seconds=1e9), "run.audio.clip_seconds: 1000000000.0 is not allowed"),
        (of_run(hop=10**9), "run.hop: 1000000000 is not allowed"),
        (of_weights_that_are_none, "1 of its weights are not finite, first network.fc1.bias"),
        (replaced(glat=torch.zeros(2)), "version tensor"),
        (replaced(model={1: torch.zeros(2)}), "not a checkpoint of weights"),
        (of_a_lost_weight, r"1 of \d+ weights missing.*network.fc1.bias"),
        (replaced(model={}), "another network"),
        (replaced(model=3), "not a checkpoint of weights"),
        (without("model"), "it lacks model"),
        (without("run"), "it lacks run"),
        (without("classes"), "it lacks classes"),
        (replaced(selected=[3]), "what it says of its selection is not numbers by name"),
        (replaced(selected={"step": torch.zeros(2)}), "what it says of its selection is not numbers by name"),
        (of_run(loudness=3), "unknown key run.loudness"),
        (with_a_bad_setting, "tau is 0.01"),
        (of_run(backbone="cnn11"), "'cnn11' is not known"),
    ],
)
def test_a_checkpoint_that_is_not_what_it_says_is_refused(saved, change, told):
    path, _ = saved()
    content = checkpoints.read(path)
    change(content)
    torch.save(content, path)
    with refused(path, told):
        checkpoints.load(path)


def test_a_file_of_tensors_alone_is_no_checkpoint(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(GlatError, match=r"list\.pt: not a checkpoint of weights"):
        checkpoints.load(tmp_path / "list.pt")


def panns_file(path):
    tagger = build("cnn10", len(CLASSES))
    with torch.no_grad():
        for parameter in tagger.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    constants = {f"spectrogram_extractor.stft.conv_{k}.weight": torch.zeros(513, 1, 1024) for k in ("real", "imag")}
    weights = tagger.network.state_dict()
    constants["logmel_extractor.melW"] = tagger.front_end.mel_scale.fb
    torch.save({"iteration": 600000, "model": constants | weights}, path)
    return weights


def same(backbone, weights) -> bool:
    own = backbone.state_dict()
    return own.keys() == weights.keys() and all(torch.equal(v, own[k]) for k, v in weights.items())


@pytest.mark.parametrize("streams", [("global",), ("local",), ("global", "local")])
def test_a_stream_starts_from_a_panns_checkpoint(params, tmp_path, streams):
    path = tmp_path / "Cnn10.pth"
    weights = panns_file(path)
    run = run_of(params, glat={}, width=1.0, hop=320, init={stream: str(path) for stream in streams})
    backbones = checkpoints.build(run).backbones()
    assert {name for name, backbone in backbones.items() if same(backbone, weights)} == set(streams)
    with pytest.raises(GlatError, match=rf"init\.{streams[0]}: trained on log-mels of hop 320, .* has hop 640"):
        checkpoints.build(run.model_copy(update={"hop": 640}))


@pytest.mark.parametrize("source_glat", [None, {}])
@pytest.mark.parametrize("streams", [("global",), ("local",), ("global", "local")])
def test_a_stream_starts_from_our_checkpoint_from_its_own_stream_of_two(saved, params, source_glat, streams):
    path, source = saved(glat=source_glat)
    run = run_of(params, glat={}, init={stream: str(path) for stream in streams})
    theirs = source.backbones()
    for name, backbone in checkpoints.build(run).backbones().items():
        assert same(backbone, theirs.get(name, theirs["global"]).state_dict()) == (name in streams)


def test_a_plain_network_starts_from_the_global_stream(saved, params):
    path, source = saved(glat={})
    tagger = checkpoints.build(run_of(params, init={"global": str(path)}))
    assert same(tagger.network, source.network.global_stream.state_dict())


@pytest.mark.parametrize("source_glat", [None, {}])
def test_frozen_training_starts_both_streams_from_the_weights_of_the_global_one(saved, params, source_glat):
    path, source = saved(glat=source_glat)
    tagger = checkpoints.build(run_of(params, glat={"training": "frozen_global"}, init={"global": str(path)}))
    expected = source.backbones()["global"].state_dict()
    assert [same(backbone, expected) for backbone in tagger.backbones().values()] == [True, True]


@pytest.mark.parametrize("stream", ["global", "local"])
def test_weights_of_another_backbone_are_refused_for_either_stream(saved, params, tmp_path, stream):
    ours, theirs, odd = saved("talnet")[0], tmp_path / "Cnn10.pth", tmp_path / "odd.pt"
    panns_file(theirs)
    torch.save({"model": {"epoch": 3, "fc1.bias": torch.zeros(3)}}, odd)
    newer = tmp_path / "newer.pt"
    torch.save(checkpoints.read(saved("cnn10")[0]) | {"glat": 2}, newer)
    for path in (ours, theirs, odd, newer, tmp_path / "no"):
        backbone = "resnet38" if path == theirs else "cnn10"
        with refused(path):
            checkpoints.build(run_of(params, backbone, glat={}, init={stream: str(path)}))


def test_weights_trained_on_other_log_mels_at_the_same_hop_are_refused(saved, params, tmp_path):
    path, tagger = saved()
    run = run_of(params, init={"global": str(path), "local": None})
    before, bands = LogMel(hop=run.hop, window=1024), LogMel(hop=run.hop, fmax=8000.0)
    for other, told, loads in (
        (before, f"another STFT window: 1024 samples at hop {run.hop}, where this version of glat has 2048", False),
        (bands, r"init\.global: trained on log-mels of other mel bands", True),
    ):
        front_end = {f"front_end.{key}": value for key, value in other.state_dict().items()}
        checkpoints.save(tagger, run, CLASSES, 7, path)
        content = checkpoints.read(path)
        torch.save(content | {"model": content["model"] | front_end}, path)
        with refused(path, told):
            checkpoints.build(run)
        if loads:  # it hears as it was trained
            assert torch.equal(checkpoints.load(path)[0].front_end.mel_scale.fb, other.mel_scale.fb)
            continue
        with refused(path, told):
            checkpoints.load(path)


NEW = {"mid": "/m/new", "display_name": "New"}
OTHERS = [CLASSES[9], NEW, CLASSES[2], CLASSES[5]]


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
@pytest.mark.parametrize("glat", [None, {"n": 2, "tau": 1.5}, {"n": 2, "tau": 1.5, "sharing": "classifier"}])
def test_a_class_list_of_another_order_is_mapped_by_id(saved, params, capsys, backbone, glat):
    path, source = saved(backbone, glat)
    init = {"global": str(path), "local": str(path) if glat else None}
    tagger = checkpoints.build(run_of(params, backbone, glat, init=init), CLASSES[::-1]).eval()
    with torch.no_grad():
        for ours, theirs in zip(tagger.streams(waveform())[:3], source.streams(waveform())[:3], strict=True):
            # A sum may be rounded in another order where the rows of a product are, on several threads.
            assert ours is theirs is None or torch.allclose(ours, theirs.flip(1), atol=1e-6)
    told = f"init.global: {path}: of 14 classes, the classifier's rows of 14 are taken over (Class 13, Class 12, Class 11, "
    assert f"{told}Class 10, Class 9 and 9 more), those of 0 are made anew\n" in capsys.readouterr().err


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
def test_rows_of_new_classes_are_those_that_the_seed_draws_and_the_rest_is_kept(saved, params, capsys, backbone):
    """METHOD: what the weights know is theirs to the bit, and what they don't is as without them."""
    path, source = saved(backbone)
    run = run_of(params, backbone, classes=len(OTHERS), init={"global": str(path)})
    begun, drawn = stage.network(run, OTHERS), stage.network(run.model_copy(update={"init": {}}), OTHERS)
    last = [f"{backbone_class(backbone).classifier[-1]}.{kind}" for kind in ("weight", "bias")]
    for key, value in begun.network.state_dict().items():
        theirs = source.network.state_dict()[key]
        if key in last:
            assert torch.equal(value[[0, 2, 3]], theirs[[9, 2, 5]])
            assert torch.equal(value[1], drawn.network.state_dict()[key][1])
        else:
            assert torch.equal(value, theirs), key
    told = "of 4 classes, the classifier's rows of 3 are taken over (Class 9, Class 2, Class 5), those of 1 are made anew (New)"
    assert told in capsys.readouterr().err


def test_weights_of_no_common_class_give_their_backbone(saved, params, capsys):
    path, source = saved()
    run, classes = run_of(params, classes=2, init={"global": str(path)}), [NEW, NEW | {"mid": "/m/newer"}]
    tagger = checkpoints.build(run, classes)
    assert torch.equal(tagger.network.conv_block4.conv2.weight, source.network.conv_block4.conv2.weight)
    assert "rows of 0 are taken over, those of 2 are made anew (New, New)" in capsys.readouterr().err


def test_the_same_classes_are_taken_over_without_a_word_and_clips_may_be_of_another_length(saved, params, capsys):
    path, source = saved()
    shorter = params.audio.waveform.model_copy(update={"clip_seconds": 5.0})
    tagger = checkpoints.build(run_of(params, init={"global": str(path)}, audio=shorter), CLASSES)
    assert same(tagger.network, source.network.state_dict()) and not capsys.readouterr().err


@pytest.fixture
def class_list(tmp_path):
    """A function: how many of CLASSES -> path of a list of them."""

    def write(count):
        rows = [f'{i},{one["mid"]},"{one["display_name"]}"' for i, one in enumerate(CLASSES[:count])]
        (path := tmp_path / "classes.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
        return str(path)

    return write


@pytest.mark.parametrize("streams", [("global",), ("local",), ("global", "local")])
def test_a_panns_checkpoint_is_taken_over_by_the_class_list_beside_it(params, tmp_path, class_list, streams):
    path = tmp_path / "Cnn10.pth"
    weights = panns_file(path)
    how = {"glat": {"n": 2}, "width": 1.0, "hop": 320, "classes": len(OTHERS)}
    lists = dict.fromkeys(streams, class_list(14))
    run = run_of(params, init=dict.fromkeys(streams, str(path)), init_classes=lists, **how)
    for name, backbone in checkpoints.build(run, OTHERS).backbones().items():
        if name in streams:
            own = backbone.state_dict()
            assert torch.equal(own["fc_audioset.weight"][[0, 2, 3]], weights["fc_audioset.weight"][[9, 2, 5]])
            assert torch.equal(own["fc1.weight"], weights["fc1.weight"])
    with refused(path, r"init\.\w+: trained on log-mels of hop 320, .* has hop 640"):
        checkpoints.build(run.model_copy(update={"hop": 640}), OTHERS)
    with refused(path, rf"it scores 14 classes, but {lists[streams[0]]} names 13; give the list of its classes"):
        class_list(13)
        checkpoints.build(run, OTHERS)
    gone = dict.fromkeys(streams, "weights/gone.csv")
    with refused(path, "weights/gone.csv: no such class list of .*; `glat weights cnn10 --until classes` fetches it"):
        checkpoints.build(run.model_copy(update={"init_classes": gone}), OTHERS)


def test_a_panns_checkpoint_of_classes_that_nobody_lists_is_refused(params, tmp_path):
    panns_file(path := tmp_path / "Cnn10.pth")
    run = run_of(params, width=1.0, hop=320, init={"global": str(path)})
    told = r"init\.global: it scores 14 classes and does not say which, and this run has 4; make it weights\.cnn10\.file of "
    with refused(path, told):
        checkpoints.build(run.model_copy(update={"classes": 4}), OTHERS)
    # Of another network, that is what is wrong with it.
    for other, told in (("resnet38", "not a checkpoint of ResNet38"), ("atsca", "not a checkpoint of Atsca")):
        with refused(path, told):
            checkpoints.build(run.model_copy(update={"classes": 4, "backbone": other}), OTHERS)


def test_a_frozen_global_stream_must_know_all_classes(saved, params):
    path, _ = saved()
    run = run_of(params, glat={"training": "frozen_global", "n": 1}, classes=4, init={"global": str(path)})
    told = r"init\.global: not trained on 1 of the 4 classes, 'New' the first, which a frozen global stream would never learn"
    with refused(path, told):
        checkpoints.build(run, OTHERS)
    known = [one for one in OTHERS if one is not NEW]
    assert checkpoints.build(run.model_copy(update={"classes": 3}), known)


def test_weights_that_follow_the_number_of_classes_otherwise_are_refused():
    with pytest.raises(ValueError, match=r"^weight follows the number of classes, but has no part for each"):
        class_axes(lambda classes: torch.nn.Linear(classes, classes))
