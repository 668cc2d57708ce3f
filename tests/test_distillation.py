"""Learning from a teacher: its file against the training clips, the loss against EfficientAT's, the whole recipe at once."""

import json

import h5py
import made_runs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from test_optimisation import small_run
from test_training import equal, facts, killed_at, rows, run_with, train, weights
from typer.testing import CliRunner

from glat.cli import app
from glat.config.faults import faults_of
from glat.config.runs import resolve, write_run
from glat.config.training import Augmentation, Distillation, EnhancedLabels, SpecAugment
from glat.data.lists import ontology
from glat.data.lists.labels import Labels
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.models import Streams
from glat.scoring.manifest import youtube_id
from glat.training import enhancement, resume, stage
from glat.training.augmentation import mix
from glat.training.distillation import Lesson, Lessons, Teacher, read_teacher
from glat.training.losses import losses


@pytest.fixture
def project(corpus_project):
    return corpus_project


def teacher_file(path, names, logits, mids=None, key="clip"):
    with h5py.File(path, "w") as file:
        file[key], file["logits"] = [str(name) for name in names], logits
        if mids is not None:
            file["mid"] = mids.astype(object)
    return path.as_posix()


def teacher_of(run, packs):
    return read_teacher(run, packs, "distillation")


def taught(params, teacher, **settings):
    return run_with(params, distillation=Distillation(teacher=teacher, **settings))


def test_a_teacher_s_clips_and_classes_are_found_in_any_order(project, params, capsys):
    packs, random = Packs(run_with(params).packs), np.random.default_rng(0)
    clips, mids = packs.clips.astype(str), packs.classes["mid"].to_numpy(str)
    logits = random.normal(0, 4, (24, 16)).astype(np.float32)
    rows, columns = random.permutation(24), random.permutation(16)[:-1]  # one class is not the teacher's
    names = [youtube_id(clip) if i % 2 else clip for i, clip in enumerate(clips)]
    path = teacher_file(
        project / "t.h5", [*np.array(names)[rows[:-1]], "other"], logits[rows][:, columns], mids[columns], "filename"
    )
    teacher = teacher_of(taught(params, path, temperature=2.0), packs)
    told = capsys.readouterr().err
    assert f"1 of the 24 training clips are not among the teacher's, {str(clips[rows[-1]])!r} the first" in told
    assert "1 of the 16 classes are not among the teacher's" in told and told.count("the labels alone count") == 2
    known = np.ones((24, 16), bool)
    known[rows[-1]], known[:, np.setdiff1d(range(16), columns)] = False, False
    expected = np.where(known, torch.from_numpy(logits / 2).sigmoid().numpy(), 0)
    batch = Lessons(packs, teacher).batch(np.arange(24), np.zeros(24, np.int64))["lesson"].numpy()
    np.testing.assert_allclose(batch[:, :16], expected, rtol=2e-3, atol=1e-4)
    assert np.array_equal(batch[:, 16:], known)
    for key, least in (("training clips", 0.99), ("classes", 0.95)):
        with pytest.raises(GlatError, match=rf"t\.h5: 1 of the \d+ {key} are not .* it must know 9\d% of them"):
            teacher_of(taught(params, path, known=least), packs)


def enhanced_one_by_one(target, scores, mids, threshold):
    """PSLA's two passes over the clips, each from the labels of the lists, and their union."""
    least = [threshold(scores[target[:, i], i]) if target[:, i].any() else np.inf for i in range(len(mids))]
    found = target.copy()
    for clip, labels in enumerate(target):
        for label in np.flatnonzero(labels):
            for other, mid in enumerate(mids):
                below = mids[label] in ontology.parents()[mid]  # type I: a child
                above = mid in ontology.ancestors(mids[label])  # type II: any above
                if (below or above) and not labels[other] and scores[clip, other] > least[other]:
                    found[clip, other] = True
    return found


@pytest.mark.parametrize(
    ("threshold", "value"), [("mean", np.mean), ("median", np.median), (25, lambda x: np.percentile(x, 25))]
)
def test_enhanced_labels_are_those_of_psla(threshold, value):
    random = np.random.default_rng(0)
    known = sorted(ontology.parents())
    mids = [known[i] for i in random.permutation(len(known))[:150]]
    target, scores = random.random((400, 150)) < 0.03, random.random((400, 150)).astype(np.float16)
    target[:, 7] = False  # no clip has it
    teacher = Teacher(scores, np.ones(400, bool), np.ones(150, bool))
    related = enhancement.relations(mids)
    found = enhancement.enhance(Labels.from_dense(target), teacher, related, threshold).dense()
    expected = enhanced_one_by_one(target, scores.astype(float), mids, value)
    assert np.array_equal(found, expected) and found.sum() > target.sum() + 50
    unknown = teacher._replace(clips=np.arange(400) % 2 == 0, classes=np.arange(150) % 3 > 0)
    some = enhancement.enhance(Labels.from_dense(target), unknown, related, threshold).dense()
    assert np.array_equal(some[1::2], target[1::2]) and np.array_equal(some[:, ::3], target[:, ::3])
    assert some.sum() > target.sum()


def test_a_run_trains_on_enhanced_labels_and_others_make_another_training(project, params, capsys, monkeypatch):
    packs = Packs(run_with(params).packs)
    before, mids, logits = packs.labels.dense(), packs.classes["mid"].to_numpy(str), np.full((24, 16), -3.0, np.float32)
    lacking = np.flatnonzero(before[:, 1] & ~before[:, 0])
    logits[lacking, 0] = 5.0
    run = run_with(
        params, enhanced_labels=EnhancedLabels(teacher=teacher_file(project / "t.h5", packs.clips, logits, mids))
    )
    with pytest.raises(GlatError, match="none of the classes is above another one in AudioSet's ontology"):
        train(run, project / "run")  # of those of the tests
    monkeypatch.setattr(enhancement, "relations", lambda mids: [[1], *([] for _ in mids[1:])])
    enhancement.add_labels(run, packs)
    assert (
        packs.labels.dense()[lacking, 0].all() and packs.labels.matrix.nnz == before.sum() + len(lacking) > before.sum()
    )
    told = f"training.enhanced_labels: {len(lacking)} labels were added to the {before.sum()} of the lists"
    assert told in capsys.readouterr().err
    train(run, project / "run")
    assert told in capsys.readouterr().err
    plain = run_with(params)
    enhanced, other = facts(run, packs), facts(plain, Packs(plain.packs))
    assert enhanced["labels"] != other["labels"] and enhanced["teacher.enhanced_labels"]
    assert "enhanced_labels" not in plain.training.model_dump()


def test_what_cannot_be_learned_from_a_teacher_is_told_before(params):
    def faults(glat, **training):
        run = resolve(params, "cnn10", 0, glat)
        return faults_of(params, run.model_copy(update={"training": run.training.model_copy(update=training)}))

    taught = {"distillation": Distillation(teacher="t.h5", stream="global")}
    assert not faults({}, **taught)
    (told,) = faults({}, **taught, freeze=["global"])[-1:]
    assert "training.distillation.stream: 'global', which training.freeze keeps as it is" in told
    assert any("which glat.training keeps as it is" in one for one in faults({"training": "frozen_global"}, **taught))
    assert "training.rise: 'exponential', but training.warmup: 0" in faults(None, rise="exponential", warmup=0)[0]
    for path, file in (("x.hdf", "x.hdf"), ("runs/a", "runs/a/teacher.h5")):
        assert Distillation(teacher=path).file.as_posix() == file
    with pytest.raises(ValueError, match="a .npy file; convert it to HDF5, as docs/recipe.md shows"):
        Distillation(teacher="preds.npy")


def test_a_teacher_that_learned_the_fold_of_the_evaluation_is_refused(project, params):
    run = taught(params, "teacher").model_copy(update={"fold": "eval"})
    packs, split = Packs(run.packs), run.packs[0].split("/")[-2]
    (project / "teacher").mkdir()
    logits = np.zeros((24, 16), np.float32)
    teacher_file(project / "teacher/teacher.h5", packs.clips.astype(object), logits)
    write_run(run_with(params), project / "teacher/config.yaml")
    assert teacher_of(run, packs).clips.all()  # it was trained on another fold
    told = rf"teacher: this teacher was trained on {split}, which .* is evaluated on; name one that was not"
    with pytest.raises(GlatError, match=told):
        teacher_of(run.model_copy(update={"fold": split}), packs)


@pytest.mark.parametrize(("change", "told"), [
    ({"logits": np.zeros((24, 5), np.float32)}, r"scores 5 classes and does not say which, and this run has 16"),
    ({"logits": np.full((24, 16), np.nan, np.float32)}, "logits are not finite"),
    ({"clip": ["a"] * 24}, "24 of the 24 training clips are not among the teacher's"),
    ({"clip": ["a"]}, r"clip is object \(1,\), expected text \(24\)"),
    ({"logits": None}, "logits is missing"),
])  # fmt: skip
def test_a_file_that_is_no_teacher_of_these_clips_is_refused_in_a_sentence(project, params, change, told):
    packs = Packs(run_with(params).packs)
    content = {"clip": packs.clips.astype(object), "logits": np.zeros((24, 16), np.float32)} | change
    with h5py.File(project / "t.h5", "w") as file:
        for name, value in content.items():
            if value is not None:
                file[name] = value
    with pytest.raises(GlatError, match=rf"t\.h5: .*{told}"):
        teacher_of(taught(params, "t.h5"), packs)
    with pytest.raises(GlatError, match=r"none\.h5: no such teacher; `glat teach` makes a run's"):
        teacher_of(taught(params, "none.h5"), packs)


def test_the_loss_is_efficientat_s():
    """Of its ex_audioset.py: the teacher's loss of a mixture is the mixture of its losses, 0 where it knows nothing."""
    draw = torch.Generator().manual_seed(0)
    scores, teacher = (torch.randn(4, 3, generator=draw) for _ in range(2))
    target = torch.randint(2, (4, 3), generator=draw).float()
    partner, share, known = torch.tensor([1, 2, 3, 0]), torch.tensor([0.9, 0.7, 1.0, 0.2]), torch.tensor([1.0, 1, 1, 0])
    each = lambda soft: F.binary_cross_entropy_with_logits(scores, soft, reduction="none").mean(1)
    soft = teacher.sigmoid()
    theirs = (each(soft) * share * known + each(soft[partner]) * (1 - share) * known[partner]).mean()
    both = torch.cat([target, soft * known[:, None], known[:, None].expand(4, 3)], 1)
    target, *lesson = mix(both, partner, share).split(3, 1)
    labels = F.binary_cross_entropy_with_logits(scores, target)
    streams = Streams(None, scores.sigmoid(), scores.sigmoid())
    found = losses(streams, target, (), Lesson(*lesson), Distillation(teacher="t.h5", weight=0.9, stream="local"))
    torch.testing.assert_close(found["loss_local"], 0.1 * labels + 0.9 * theirs)
    torch.testing.assert_close(found["loss_global"], labels)


def test_a_network_that_was_trained_elsewhere_teaches_what_it_is_asked_to_score(project, params, monkeypatch):
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps(TINY))
    run = made_runs.untrained(params, project / "published")
    write_run(run.model_copy(update={"packs": []}), project / "published/config.yaml")
    asked = ["teach", "published", "--threads", "1"]
    told = str(CliRunner().invoke(app, asked).exception)
    assert "published/checkpoint.pt: it was trained elsewhere" in told and "add --split" in told
    assert "mini has no split 'trian'; it has train, eval" in str(
        CliRunner().invoke(app, [*asked, "--split", "trian"]).exception
    )
    done = CliRunner().invoke(app, [*asked, "--split", "train"])
    assert done.exit_code == 0, done.output
    run = run_with(params, distillation=Distillation(teacher="published"))
    assert teacher_of(run, Packs(run.packs)).clips.all()


def test_a_run_teaches_another_and_the_whole_recipe_goes_on_after_a_kill(project, params, monkeypatch):
    teacher = small_run(params, steps=1)
    train(teacher, project / "teacher")
    write_run(teacher, project / "teacher/config.yaml")
    done = CliRunner().invoke(app, ["teach", "teacher", "--threads", "1"])
    assert done.exit_code == 0, done.output
    run = small_run(
        params, {"selection": "random", "n": 2}, steps=4, dropout=1.0,
        mixup_alpha=1.0, mixup_pairs=True, spec_augment=SpecAugment(where="windows", time_width=20),
        augmentation=Augmentation(roll=0.1, gain=6, waveform_mixup={"rate": 0.5}, mix_style={"rate": 0.5}),
        label_smoothing=0.1, optimizer="adamw", weight_decay=0.01, accumulate=2, schedule="linear", rise="exponential",
        layer_decay=0.7, ema=0.5, distillation=Distillation(teacher="teacher", temperature=2.0),
    )  # fmt: skip
    made, clips = [], []
    init, losses_of = stage.LogMels.__init__, stage.Stage.losses_of
    monkeypatch.setattr(stage.LogMels, "__init__", lambda self, *given: made.append(self) or init(self, *given))
    count = lambda self, part, *given: clips.append(len(part.logmel)) or losses_of(self, part, *given)
    monkeypatch.setattr(stage.Stage, "losses_of", count)
    train(run, project / "unbroken")
    assert clips == [2] * 8, "of a batch of 4, mixed from 8, in two parts"
    assert made and not made[-1].kept, "log-mels of augmented waveforms are not kept"
    killed_at(3, run, project / "killed")
    train(run, project / "killed")
    assert equal(weights(project / "unbroken"), weights(project / "killed"))
    assert rows(project / "unbroken") == rows(project / "killed")
    packs = Packs(run.packs)
    before, _ = facts(run, packs), (project / "teacher/teacher.h5").open("ab").write(b"0")
    assert resume.differences(before, facts(run, packs)) == "other teacher.distillation"
    moved = run.training.model_copy(update={"distillation": Distillation(teacher="moved", temperature=2.0)})
    (project / "moved").symlink_to(project / "teacher")
    assert facts(run, packs) == facts(run.model_copy(update={"training": moved}), packs), "wherever it lies"
