"""A backbone that is frozen at first, or trained at a rate of its own: which weights move, which statistics, and how far."""

import pytest
import torch
from test_training import equal, killed_at, rows, run_with, train, weights

from glat.config.faults import faults_of
from glat.config.runs import split_packs
from glat.config.training import Validation
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.models import Backbone, build
from glat.training import stage
from glat.training.freezing import blocks, rates, trained_weights


@pytest.fixture
def project(corpus_project):
    return corpus_project


def run_of(params, backbone="cnn10", glat=None, width=0.05, dropout=0.0, init=None, **settings):
    run = run_with(params, glat, backbone=backbone, warmup=0, **settings)
    return run.model_copy(update={"width": width, "dropout": dropout} | ({"init": init} if init else {}))


def at_the_start(run):
    """The weights that a training begins with."""
    classes = Packs(run.packs).classes[["mid", "display_name"]].to_dict("records")
    return stage.network(run, classes).state_dict()


def moved(before, after):
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


def of_classifiers(run, keys):
    names = stage.checkpoints.untrained(run).backbones()["global"].classifier
    return {key for key in keys if any(f".{name}." in key for name in names)}


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
@pytest.mark.parametrize(
    "glat",
    [None, {}, {"sharing": "classifier"}, {"sharing": "backbone"}],
    ids=["alone", "two", "classifier", "backbone"],
)
def test_only_classifiers_learn_while_the_backbone_is_frozen_and_all_does_then(project, params, backbone, glat):
    glat = glat if glat is None else {"n": 2, "tau": 1.5, **glat}
    # Two steps more: in the first, ResNet38's blocks are their shortcuts, and what is in them has no gradient.
    run = run_of(params, backbone, glat, steps=4, freeze_backbone=2, schedule="constant")
    train(run, project / "a", keep_every=1)
    begun = at_the_start(run)
    frozen, free = weights(project / "a/kept/0000002"), weights(project / "a")
    heads = of_classifiers(run, begun)
    assert 0 < len(heads) < len(begun) and moved(begun, frozen) == heads, "nor did batch norm keep other statistics"
    statistics = {key for key in free if key.endswith("running_mean")}
    assert statistics and statistics <= moved(frozen, free)
    still = {key for key in free.keys() - moved(frozen, free) if not key.startswith("front_end.")}
    assert not still, "all weights have a gradient, and batch norms count their steps"


def test_a_frozen_global_stream_stays_frozen_when_the_local_backbone_thaws(project, params):
    train(run_of(params, steps=2), project / "plain")
    start = {"global": str(project / "plain/checkpoint.pt"), "local": None}
    run = run_of(
        params, glat={"training": "frozen_global"}, init=start, steps=3, freeze_backbone=1, schedule="constant"
    )
    assert run.streams_from_scratch == []
    train(run, project / "a", keep_every=1)
    begun, one, last = at_the_start(run), weights(project / "a/kept/0000001"), weights(project / "a")
    local = lambda keys: {key for key in keys if key.startswith("network.local_stream.")}
    assert moved(begun, one) == local(of_classifiers(run, begun))
    assert moved(begun, last) == local(begun)


@pytest.mark.parametrize("killed", [3, 5])
def test_a_killed_training_thaws_as_an_unbroken_one_does(project, params, killed):
    """Resumed at step 2, where the backbone is frozen still, and at step 4, where it is not."""
    run = run_of(params, glat={}, dropout=1.0, freeze_backbone=3, backbone_learning_rate=0.3)
    train(run, project / "unbroken")
    killed_at(killed, run, project / "a")
    train(run, project / "a")
    assert equal(weights(project / "unbroken"), weights(project / "a"))
    assert rows(project / "unbroken") == rows(project / "a")


@pytest.mark.parametrize("glat", [None, {}, {"sharing": "classifier"}])
def test_the_backbone_learns_at_its_own_rate(project, params, glat):
    """The first step of Adam goes as far as the learning rate says, whatever the gradient."""
    found = {}
    for factor in (1.0, 0.1):
        run = run_of(params, glat=glat, steps=1, schedule="constant", backbone_learning_rate=factor, gradient_clip=None)
        train(run, project / str(factor), precision="float32", log_every=1)
        begun, after = at_the_start(run), weights(project / str(factor))
        found[factor] = {key: after[key] - value for key, value in begun.items() if key.endswith((".weight", ".bias"))}
        assert rows(project / str(factor))[0][4] == str(run.training.learning_rate), "the curve has the classifier's"
    heads = of_classifiers(run, found[1.0])
    for key, change in found[1.0].items():
        torch.testing.assert_close(
            found[0.1][key], change * (1 if key in heads else 0.1), rtol=2e-3, atol=1e-7, msg=key
        )


def test_other_looks_at_the_network_do_not_thaw_its_statistics(project, params):
    """A look for a collapsed training, and Kept, leave the network in training mode."""
    run = run_of(params, steps=4, freeze_backbone=4)
    train(run, project / "a", log_every=1)
    begun = at_the_start(run)
    assert moved(begun, weights(project / "a")) == of_classifiers(run, begun)


def test_a_frozen_backbone_trains_compiled_as_it_is(project, params, monkeypatch):
    run, compiled = run_of(params, glat={}, steps=3, freeze_backbone=1), stage.compile_backbones
    monkeypatch.setattr(stage, "compile_backbones", lambda tagger: compiled(tagger, backend="eager"))
    for name, how in (("plain", {}), ("compiled", {"compile": True})):
        train(run, project / name, **how)
    assert equal(weights(project / "plain"), weights(project / "compiled"))


def test_a_backbone_of_one_s_own_says_what_its_classifier_is(params):
    class Mine(Backbone):
        classifier = ("out", "attend")

        def __init__(self, classes, width=1.0, mels=64):
            super().__init__()
            self.conv = torch.nn.Sequential(torch.nn.Conv1d(mels, 8, 1), torch.nn.BatchNorm1d(8))
            self.attend = torch.nn.Sequential(torch.nn.Linear(8, classes), torch.nn.Sigmoid())
            self.out = torch.nn.Linear(8, classes)

        def features(self, logmel):
            return self.conv(logmel[:, 0].transpose(1, 2)).transpose(1, 2)

        def frame_scores(self, features):
            return torch.sigmoid(self.out(features))

        def clip_scores(self, features):
            return (self.frame_scores(features) * self.attend(features)).mean(1)

    tagger = build(Mine, classes=3)
    heads, rest = trained_weights(tagger)
    names = {weight: name for name, weight in tagger.network.named_parameters()}
    assert {names[one] for one in heads} == {"out.weight", "out.bias", "attend.0.weight", "attend.0.bias"}
    assert {names[one].partition(".")[0] for one in rest} == {"conv"} and len(rest) == 4
    Mine.classifier = ("fc",)
    with pytest.raises(
        GlatError, match=r"Mine\.classifier names 'fc', which is none of its modules; name those that class"
    ):
        trained_weights(tagger)


@pytest.mark.parametrize(
    ("backbone", "first"),
    [
        ("cnn10", ["bn0", "conv_block1", "conv_block2", "conv_block3", "conv_block4"]),
        ("resnet38", ["bn0", "conv_block1", "resnet.layer1.0", "resnet.layer1.1"]),
    ],
)
def test_blocks_are_a_backbone_s_modules_and_each_of_several_of_one_kind(params, backbone, first):
    found = stage.checkpoints.untrained(run_of(params, backbone)).backbones()["global"]
    names = {weight: name for name, weight in found.named_parameters()}
    parts = blocks(found)
    for prefix, weights_of in zip(first, parts, strict=False):
        assert {names[one] for one in weights_of} == {name for name in names.values() if name.startswith(f"{prefix}.")}
    apart = [one for part in parts for one in part]
    assert len(set(apart)) == len(apart) and names.keys() - set(apart) == {
        weight for weight, name in names.items() if name.startswith("fc")
    }


@pytest.mark.parametrize("sharing", ["none", "backbone"])
def test_each_block_learns_slower_than_the_one_above_it(params, sharing):
    run = run_of(params, glat={"sharing": sharing})
    tagger = stage.checkpoints.untrained(run)
    groups = rates(tagger, 0.1, 0.5, decay=0.8)
    of = {weight: group["lr"] for group in groups for weight in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(of) == len(list(tagger.parameters()))
    for found in tagger.backbones().values():
        rate = {name: of[weight] for name, weight in found.named_parameters()}
        assert groups[0]["lr"] == rate["fc1.weight"] == rate["fc_audioset.bias"] == 0.1
        expected = [0.05 * 0.8**depth for depth in (1, 2, 3, 4, 5)]
        names = ["conv_block4.conv2", "conv_block3.bn1", "conv_block2.conv1", "conv_block1.bn2", "bn0"]
        assert [rate[f"{name}.weight"] for name in names] == pytest.approx(expected)


def test_a_frozen_stream_stays_as_it_was_and_the_backbone_alone_is_trained(project, params):
    train(run_of(params, steps=1), project / "plain")
    start = {"global": str(project / "plain/checkpoint.pt"), "local": str(project / "plain/checkpoint.pt")}
    validation = {"select": "best", "validation": Validation(every=1)}  # looks, which leave all in training mode
    run = run_of(params, glat={}, dropout=1.0, init=start, steps=3, freeze=["local"], **validation)
    run = run.model_copy(update={"validation_packs": split_packs(params, "mini", ["eval"])})
    assert not faults_of(params, run) and run.frozen_streams == {"local"}
    train(run, project / "a")
    begun, last = at_the_start(run), weights(project / "a")
    assert moved(begun, last) == {key for key in begun if key.startswith("network.global_stream.")}
    assert run_of(params, freeze=["global"]).frozen_streams == set(), "the backbone alone is trained all the same"


def test_what_may_not_be_frozen_is_refused(params):
    start = {"global": "a.pt", "local": "a.pt"}
    told = lambda glat, **more: " ".join(faults_of(params, run_of(params, glat=glat, **more)))
    assert "the local stream of cnn10 has random weights" in told({}, freeze=["local"])
    assert "both streams are frozen" in told({}, freeze=["local", "global"], init=start)
    assert "glat.sharing 'backbone' shares what it freezes" in told(
        {"sharing": "backbone"}, freeze=["local"], init=start
    )
