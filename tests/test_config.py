"""params.yaml: a wrong key or value is one sentence with its path; runs follow from the settings."""

import json
import re

import pytest
import yaml
from conftest import ROOT
from typer.testing import CliRunner

from glat.cli import app
from glat.config import experiments
from glat.config.controls import equal_compute_steps
from glat.config.params import load, parse, plain, public
from glat.config.runs import read_run, resolve, write_run
from glat.config.training import Execution
from glat.config.types import Settings
from glat.lib.errors import GlatError
from glat.models import backbone_class
from glat.models.registry import BACKBONES

PARAMS = ROOT / "params.yaml"


def refused(settings, *results):
    """The lines with which settings are refused by themselves, or else by the results asked for."""
    try:
        return experiments.faults(parse(settings), *results or ["report"])
    except GlatError as error:
        lines = str(error).splitlines()
    assert all(line.startswith("params.yaml: ") for line in lines)
    return lines


def changed(**values):
    """The project's settings with some replaced, by dotted keys."""
    settings = yaml.safe_load(PARAMS.read_text())
    for key, value in values.items():
        *path, last = key.split(".")
        place = settings
        for part in path:
            place = place[part]
        place[last] = value
    return settings


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("glat.taau", 1, "unknown key glat.taau; allowed are n, tau, selection, suppress, frame_classifier, "),
        ("init.globl", {}, "unknown key init.globl; allowed are global, local"),
        ("datasets.mini.training.spec_augment.x", 1, "x; allowed are where, time_stripes, time_width, mel_stripes, mel_"),
        ("datasets.mini.trian", ["train"], "unknown key datasets.mini.trian; allowed are source, metadata, classes, "),
        ("seeds", [0, -1], "seeds[1]: -1 is not allowed"),
        ("audio.sample_rate", 10**9, "audio.sample_rate: 1000000000 is not allowed: input should be less than or equal to"),
        ("audio.clip_seconds", 1e9, "audio.clip_seconds: 1000000000.0 is not allowed"),
        ("datasets.mini.hop", 10**9, "datasets.mini.hop: 1000000000 is not allowed"),
        ("datasets.mini.width", 1e6, "datasets.mini.width"),
        ("fetch.max_hours", 1e300, "fetch.max_hours: 1e+300 is not allowed"),
        ("init.global", {"cnn10": "w/{run}.pt"}, "init.global.cnn10: 'w/{run}.pt' has a brace, which Snakemake would take"),
        ("evaluation.only", "{x}.txt", "evaluation.only: '{x}.txt' has a brace"),
        ("glat.tau", -1, "glat.tau: -1 is not allowed: input should be greater than 0"),
        ("glat.tau", 10.5, "glat.tau: 10.5 s is longer than a clip"),
        ("glat.n", 0, "glat.n: 0 is not allowed"),
        ("glat.n", 17, "glat.n: 17 windows, but mini has only 9 classes"),
        ("glat.selection", "best",
         "glat.selection: 'best' is not allowed: input should be 'attention', 'soft', 'random' or 'uniform'"),
        ("glat.training", "frozen_global", "init.global: glat.training 'frozen_global' needs weights"),
        ("dataset", "audioste", "dataset: 'audioste' is not an entry of datasets: mini, audioset_balanced, audioset"),
        ("backbones", ["cnn14"], "backbones[0]: 'cnn14' is not a backbone; allowed are talnet, cnn10, resnet38, atsca"),
        ("table1.two_networks", ["cnn14"], "table1.two_networks[0]: 'cnn14' is not a backbone; allowed are talnet,"),
        ("seeds", [], "seeds: [] is not allowed"),
        ("seeds", [1, 1], "seeds: duplicate entry: [1, 1]"),
        ("datasets.mini.train", ["trian"], "datasets.mini.train: 'trian' is not one of its splits: train, eval"),
        ("datasets.mini.training.stepz", 3, "unknown key datasets.mini.training.stepz"),
        ("datasets.mini.training.batch_size", 0, "datasets.mini.training.batch_size: 0 is not allowed"),
        ("datasets.mini.width", {"cnn10": 0.125}, "datasets.mini.width: no width for talnet; name it"),
        ("init.global", {"cn10": "x.pth"}, "init.global: 'cn10' is not a backbone"),
        ("datasets.mini.execution.devices", 3, "datasets.mini: training.batch_size 8 does not divide among 3 devices"),
        ("training.by_backbone", {"cnn14": {}}, "training.by_backbone: 'cnn14' is not a backbone; allowed are talnet,"),
        ("datasets.mini.training.by_backbone", {"cnn14": {}}, "datasets.mini.training.by_backbone: 'cnn14' is not a backbone"),
        ("training.by_backbone", {"cnn10": 3}, "training.by_backbone.cnn10: 3 is not allowed"),
        ("training.by_backbone", {"cnn10": {"stepz": 3}}, "unknown key training.by_backbone.cnn10.stepz"),
        ("datasets.mini.training.by_backbone", {"cnn10": {"steps": 0}},
         "datasets.mini.training.by_backbone.cnn10.steps: 0 is not allowed"),
        ("execution.by_backbone", {"cnn10": {"devices": 3}},
         "datasets.mini: training.batch_size 8 of cnn10 does not divide among 3 devices on 1 nodes"),
        ("training.plateau", {"factor": 1.0}, "training.plateau.factor: 1.0 is not allowed"),
        ("datasets.mini.dropout", 3.0, "datasets.mini.dropout: 3.0 is not allowed"),
        ("datasets.mini.train", ["train", "train"], "datasets.mini.train: duplicate entry"),
        ("datasets.mini.validate", ["val"], "datasets.mini.validate: 'val' is not one of its splits: train, eval"),
        ("datasets.mini.validate", ["eval"], "datasets.mini.validate: 'eval' is one of its splits of `evaluate` too"),
        ("datasets.mini.validate", ["train"], "datasets.mini.validate: 'train' is one of its splits of `train` too"),
        ("training.select", "best", "training.select: 'best' needs validation clips; name splits for them in datasets.mini.va"),
        ("training.select", "first", "training.select: 'first' is not allowed: input should be 'last' or 'best'"),
        ("training.validation", {"patience": 0}, "training.validation.patience: 0 is not allowed"),
        ("training.backbone_learning_rate", 0, "training.backbone_learning_rate: 0 is not allowed"),
        ("weights.cnn10", {"file": "a.pth", "classes": "{x}.csv"}, "weights.cnn10.classes: '{x}.csv' has a brace"),
        ("execution.precision", "fp8", "execution.precision: 'fp8' is not allowed"),
        ("training.workers", 3, "unknown key training.workers"),
        ("glat.tau", 0.2, "glat.tau: 0.2 s, but CNN10 needs windows of at least 0.64 s"),
        ("fig2.tau", [0.3, 3], "fig2.tau: 0.3 s, but CNN10 needs windows of at least 0.64 s"),
        ("init.global", {"cnn10": "runs/mini/cnn10-s0/checkpoint.pt"},
         "init.global.cnn10: runs/mini/cnn10-s0/checkpoint.pt is a run that these settings would change"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_sentence_with_its_path(key, value, told):
    faults = refused(changed(**{key: value}))
    assert told in faults[0]
    assert len({fault.split(": ")[-2] for fault in faults}) == 1, "a line a fault, and no other"


def keys(faults):
    return [fault.removeprefix("params.yaml: ").partition(":")[0].partition(";")[0] for fault in faults]


def test_all_that_is_wrong_is_told_at_once():
    wrong = {"glat.taau": 1, "glat.n": 0, "seeds": [], "evaluation.confidence": 2, "audio.codec": "mp3"}
    expected = ["audio.codec", "evaluation.confidence", "glat.n", "seeds", "unknown key glat.taau"]
    assert sorted(keys(refused(changed(**wrong)))) == expected
    wrong = {"backbones": ["cnn14"], "fig2.n": [1, 1], "datasets.mini.evaluate": ["evl"], "init.global": {"x": "y.pth"}}
    found = keys(refused(changed(**wrong, **{"report.clip": 3, "datasets.mini.training.stepz": 3})))
    unknown = ["unknown key report.clip", "unknown key datasets.mini.training.stepz"]
    assert sorted(found) == sorted([*wrong, *unknown, "backbones[0]"][1:])
    # What only results need is told with it, but nothing of a value that stands in for a refused one.
    wrong = {"glat.n": 17, "fig2.tau": [0.3], "glat.tau": -1, "datasets.mini.execution.devices": 3, "a": 1}
    told = keys(refused(changed(**wrong)))
    assert told == ["glat.tau", "unknown key a", "datasets.mini", "glat.n", "fig2.tau"]


def test_only_what_is_asked_for_is_checked():
    settings = changed(**{"fig2.n": [1, 17], "fig2.tau": [0.3, 3], "glat.tau": 1.0, "controls.backbones": ["resnet38"]})
    assert refused(settings, "table2") == []
    assert [fault.partition(":")[0] for fault in refused(settings, "fig2a")] == ["fig2.n"]
    assert [fault.partition(":")[0] for fault in refused(settings, "fig2b")] == ["fig2.tau"]
    assert refused(settings, "controls") == ["glat.tau: 1.0 s, but ResNet38 needs windows of at least 1.28 s"]
    assert len(refused(settings, "fig2a", "fig2b", "controls")) == 3
    frozen = changed(**{"glat.training": "frozen_global", "init.global": {"cnn10": "x.pth"}, "backbones": ["cnn10"]})
    assert refused(frozen, "table1") == [] == refused(frozen | {"glat": frozen["glat"] | {"sharing": "none"}}, "table1")
    # Another dataset's faults are no one's who doesn't choose it; a typo is.
    other = changed(**{"datasets.audioset.execution": {"devices": 5}, "datasets.audioset.metadata": None})
    assert refused(other) == []
    assert len(refused(other | {"dataset": "audioset"})) > 0
    assert "datasets.audioset.training.x" in refused(changed(**{"datasets.audioset.training": {"x": 5}}))[0]


def test_the_registry_says_what_the_networks_say():
    for name, entry in BACKBONES.items():
        network = backbone_class(name)
        assert entry.min_frames == network.min_frames and entry.hop == network.front_end.get("hop")


def test_a_backbone_of_one_s_own_gets_its_rows_with_one_line(monkeypatch):
    monkeypatch.setitem(BACKBONES, "mine", BACKBONES["cnn10"]._replace(title="Mine"))
    params = load(PARAMS, {"backbones": ["cnn10", "mine"]})
    labels = [one.label for one in experiments.table1(params)]
    assert [label for label in labels if "two" not in label] == ["CNN10", "CNN10 + GL-AT", "Mine", "Mine + GL-AT"]
    assert experiments.table1(params)[-1].runs[0].width == 0.125


def test_weights_of_the_local_stream_are_no_part_of_a_plain_run():
    params = load(PARAMS, {"init.local": {"cnn10": "weights/a.pth"}, "init.global": {"cnn10": "weights/b.pth"}})
    assert resolve(params, "cnn10", 0).init == {"global": "weights/b.pth", "local": None}
    assert resolve(params, "cnn10", 0, {}).init == {"global": "weights/b.pth", "local": "weights/a.pth"}


def test_a_backbone_of_random_weights_is_not_frozen():
    frozen = {"training.freeze_backbone": 10, "backbones": ["cnn10"], "init.global": {"cnn10": "w.pth"}}
    told = "training.freeze_backbone: 10 steps, but the {} stream of cnn10 starts from random weights; name others in init.{}"
    assert refused(changed(**frozen), "table2")[0].startswith(told.format("local", "local.cnn10"))
    assert refused(changed(**frozen | {"init.global": {}}), "table2")[0].startswith(
        told.format("global", "global.cnn10")
    )
    for glat in ({"glat.sharing": "backbone"}, {"glat.training": "frozen_global"}, {"init.local": {"cnn10": "w.pth"}}):
        assert refused(changed(**frozen | glat), "table2") == []
    assert refused(changed(**frozen | {"glat.sharing": "classifier"}), "table2")


VALIDATED = {
    "datasets.mini.splits": {"train": 400, "val": 100, "eval": 600}, "datasets.mini.validate": ["val"],
    "training.select": "best",
}  # fmt: skip


def test_a_training_must_last_until_its_first_look_at_validation_clips():
    assert refused(changed(**VALIDATED), "table1") == []
    late = changed(**VALIDATED, **{"training.validation": {"every": 1001}})
    told = "training.validation.every: 1001, but the training of cnn10-s0 ends after 1000 steps"
    assert told in refused(
        late, "table1"
    ) and "training.validation.every: 1001, but the training of cnn10-steps" not in (
        " ".join(refused(late, "controls"))
    )


def test_published_weights_come_with_a_class_list_where_a_dataset_may_have_other_classes():
    of = lambda **changes: resolve(load(PARAMS, changes), "cnn10", 0, {})
    file = "weights/Cnn10_mAP=0.380.pth"
    start = {"init.global": {"cnn10": file}, "init.local": {"cnn10": "mine.pth"}}
    run = of(**start)
    assert re.fullmatch(r"weights/class_labels_indices-[0-9a-f]{8}\.csv", run.init_classes["global"])
    assert run.init_classes.keys() == {"global"}, "of a file of one's own nothing is known"
    assert of(**start, **{"weights.cnn10.classes": "lists/own.csv"}).init_classes == {"global": "lists/own.csv"}
    assert of(**start, **{"weights.cnn10.classes": None}).init_classes == {}
    own = {"weights.cnn10.file": "./mine.pth", "weights.cnn10.classes": "own.csv"}
    assert of(**start, **own).init_classes == {"local": "own.csv"}
    # The dataset's classes come from the same list: they are the same, and nothing is fetched for them.
    assert of(**start, dataset="audioset").init_classes == {} == of(**start, dataset="audioset_balanced").init_classes


def test_runs_of_before_are_runs_still(tmp_path):
    run = resolve(load(PARAMS), "cnn10", 0, {})
    assert run.init_classes == {} and run.validation_packs == []
    settings = run.model_dump(by_alias=True)
    for key in ("init_classes", "validation_packs"):
        del settings[key]
    for key in ("freeze_backbone", "backbone_learning_rate", "select", "validation"):
        del settings["training"][key]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert read_run(tmp_path / "config.yaml") == run


def test_an_error_says_where_settings_may_come_from():
    with pytest.raises(GlatError) as told:
        load(PARAMS, {"glat.taau": 1})
    assert str(told.value).startswith(f"settings ({PARAMS}, --config, --configfile, --set): unknown key glat.taau; ")
    with pytest.raises(GlatError) as told:
        load(PARAMS, {"dataset": "mini", "glat": {}, "fig2.n": [1, 1]})
    assert str(told.value).startswith("settings (")


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(GlatError, match="params.yaml: no such file"):
        load(tmp_path / "params.yaml")
    with pytest.raises(GlatError, match="cannot be read as settings"):
        load(tmp_path)
    for content, told in (
        (b"dataset: m\xfcni", "cannot be read as settings"),
        (b"glat: [", "not valid YAML"),
        (b"dataset: mini", "key seeds is missing"),
    ):
        (tmp_path / "params.yaml").write_bytes(content)
        with pytest.raises(GlatError, match=f"params.yaml: {told}"):
            load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 2020-99-99", r"not valid YAML: one of its values cannot be read \(month must be in 1..12\)"),
        (f"a: {'9' * 6000}", "not valid YAML: one of its values cannot be read"),
        ("a: !!bool x", "not valid YAML: one of its values cannot be read"),
        ("a: !!timestamp x", "not valid YAML: one of its values cannot be read"),
        ("a: 1\nb: {c: 1, 'c': 2}", "not valid YAML: line 2, column 11: a key that line 2 has already"),
        ("a: 1\nb: 2\na: 1", "not valid YAML: line 3, column 1: a key that line 1 has already"),
        ("[" * 5000, "nested deeper than settings are"),
        ("x" * (2**20 + 1), "longer than"),
    ],
)
def test_what_yaml_has_no_value_for_is_one_sentence(tmp_path, text, told):
    for name, reader in (("params.yaml", load), ("config.yaml", read_run)):
        (tmp_path / name).write_text(text)
        with pytest.raises(GlatError, match=rf"{name}: {told}") as refused:
            reader(tmp_path / name)
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert plain({"a": text}) == {"a": text}


def test_an_empty_config_has_no_key_to_name(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(GlatError, match=r"config\.yaml: None is not allowed"):
        read_run(tmp_path / "config.yaml")


@pytest.mark.parametrize("key", [
    "glat.tau", "training.learning_rate", "training.mixup_alpha", "fetch.max_hours", "audio.min_seconds",
    "audio.clip_seconds", "tracking.watch", "datasets.mini.width", "datasets.mini.dropout",
])  # fmt: skip
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_number_is_infinite_or_none(key, value):
    (told, *_) = refused(changed(**{key: value}))
    assert told.startswith(f"params.yaml: {key}") and "not allowed" in told


@pytest.mark.parametrize("name", ["2024", "on", "no", "null", "1e3", "1_0", "2020-01-01", "2020-99-99"])
def test_a_dataset_may_have_a_name_that_yaml_reads_as_something_else(tmp_path, monkeypatch, name):
    settings = yaml.safe_load(PARAMS.read_text())
    settings["datasets"][name] = settings["datasets"]["mini"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["--set", f"dataset={name}", "dataset"])
    assert done.exit_code == 0 and (tmp_path / "data" / name / "dataset.json").is_file(), done.output
    assert plain({"dataset": name}) == {"dataset": name}


def test_table_1_is_every_backbone_with_and_without_glat_for_each_seed_and_two_networks_beside_cnn10():
    runs = experiments.runs_of(experiments.table1(load(PARAMS, {"seeds": [0, 1]})))
    assert len({run.name for run in runs}) == len(runs) == 18
    assert {run.name for run in runs} >= {"cnn10-s0", "cnn10-glat-s1", "talnet-glat-s0", "cnn10-glat-n1-tau10-s1"}
    assert not [run for run in runs if run.name.startswith(("talnet-glat-n1", "atsca-glat-n1", "resnet38-glat-n1"))]


def test_the_readme_counts_the_trainings_that_there_are():
    count = len(experiments.all_runs(load(PARAMS)))
    assert re.search(rf"\b{count} trainings\b", PARAMS.with_name("README.md").read_text())


def test_a_run_has_one_name_wherever_it_is_asked_for():
    params = load(PARAMS)
    assert resolve(params, "cnn10", 0, {"n": 5, "tau": 3.0}) == resolve(params, "cnn10", 0, {})
    assert resolve(params, "cnn10", 0, {"n": 3, "suppress": True}).name == "cnn10-glat-n3-suppress-s0"


def test_a_run_file_repeats_the_run_and_holds_no_more(tmp_path):
    run = resolve(load(PARAMS), "cnn10", 0, {})
    write_run(run, tmp_path / "config.yaml")
    assert read_run(tmp_path / "config.yaml") == run
    other = resolve(
        load(PARAMS, {"evaluation.confidence": 0.9, "backbones": ["cnn10"], "datasets.audioset.classes": 5}),
        "cnn10",
        0,
        {},
    )
    assert other == run
    (tmp_path / "config.yaml").write_text((tmp_path / "config.yaml").read_text() + "extra: 1\n")
    with pytest.raises(GlatError, match="config.yaml: unknown key extra"):
        read_run(tmp_path / "config.yaml")


def test_the_presets_have_the_paper_s_sizes():
    params = load(PARAMS, {"dataset": "audioset"})
    entry, training = params.corpus, params.training_of("audioset")
    assert (entry.shards("unbalanced_train"), entry.shards("balanced_train"), entry.shards("eval")) == (41, 1, 1)
    assert (training.steps, training.batch_size, training.learning_rate) == (800_000, 32, 1e-3)
    run = resolve(params, "cnn10", 0, {})
    assert (run.width, run.dropout, run.hop, run.audio.sample_rate) == (1.0, 1.0, 320, 32000)
    assert (run.glat.n, run.glat.tau) == (5, 3.0)
    assert len(run.packs) == 42


def test_another_kind_of_source_brings_none_of_the_old_one_s_settings():
    source = {"kind": "youtube", "cookies": "c.txt"}
    params = load(ROOT / "params.yaml", {"datasets.audioset.source": source})
    assert params.datasets["audioset"].source == source
    same = load(ROOT / "params.yaml", {"datasets.audioset.source": {"full_videos": True}})
    assert same.datasets["audioset"].source == {"kind": "files", "audio": "audioset/audio", "full_videos": True}


def test_text_from_the_command_line_becomes_what_it_says():
    given = {"a": {"b": "false", "c": "null", "d": "2.5", "e": "x", "f": ["3", "2021-06-06", ""], "g": "a: b"}, "h": 1}
    assert plain(given) == {
        "a": {"b": False, "c": None, "d": 2.5, "e": "x", "f": [3, "2021-06-06", ""], "g": "a: b"}, "h": 1
    }  # fmt: skip


def test_training_by_backbone_goes_before_the_datasets_and_the_datasets_own_before_that(tmp_path):
    common = {
        "training": {"steps": 1, "batch_size": 1, "warmup": 1, "learning_rate": 1, "mixup_alpha": 0.1,
                     "by_backbone": {"cnn10": {"warmup": 3, "learning_rate": 3, "spec_augment": {"mel_width": 3}}}},
        "execution": {"workers": 1, "log_every": 1, "by_backbone": {"cnn10": {"log_every": 3}}},
    }  # fmt: skip
    own = {
        "datasets.mini.training": {"batch_size": 2, "warmup": 2, "learning_rate": 2,
                                   "by_backbone": {"cnn10": {"learning_rate": 4, "spec_augment": {"time_width": 4}}}},
        "datasets.mini.execution": {"workers": 2, "log_every": 2},
    }  # fmt: skip
    settings = yaml.safe_load(PARAMS.read_text())
    common["training"]["by_backbone"] |= settings["training"]["by_backbone"]
    for section, values in common.items():
        settings[section] |= values
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    params = load(tmp_path / "params.yaml", own)
    told = lambda training: [training.batch_size, training.warmup, training.learning_rate, training.mixup_alpha]
    own, other = params.training_of("mini", "cnn10"), params.training_of("mini", "atsca")
    assert told(own) == [2, 3, 4, 0.0] and told(other) == [2, 2, 2, 0.0] and other == params.training_of("mini")
    assert (own.spec_augment.mel_width, own.spec_augment.time_width, own.spec_augment.time_stripes) == (3, 4, 0)
    assert (other.spec_augment.mel_width, other.spec_augment.time_width) == (8, 64)
    assert params.training_of("audioset", "cnn10").learning_rate == 3
    cnn10, atsca = params.execution_of("mini", "cnn10"), params.execution_of("mini", "atsca")
    assert (cnn10.workers, cnn10.log_every, atsca.workers, atsca.log_every) == (2, 3, 2, 2)
    # A run has its own backbone's training, and nothing of the others'.
    run = resolve(params, "cnn10", 0)
    assert run.training == own and "by_backbone" not in run.training.model_dump()
    assert sorted(params.special("mini")) == ["cnn10", "talnet"]


OWN = {
    "audio": {"clip_seconds": 5.0}, "glat": {"n": 2, "tau": 1.5}, "fig2": {"n": [1, 2]}, "backbones": ["talnet"],
    "seeds": [3], "evaluation": {"seed": 7}, "table1": {"two_networks": []},
}  # fmt: skip


def test_a_datasets_own_values_are_used_for_it_alone():
    own = {f"datasets.mini.{key}": value for key, value in OWN.items()}
    params, other = load(PARAMS, own), load(PARAMS, own | {"dataset": "audioset"})
    assert (params.audio.clip_seconds, params.audio.sample_rate) == (5.0, 32000)
    assert (params.glat.n, params.glat.tau, params.glat.selection) == (2, 1.5, "attention")
    assert (params.fig2.n, params.fig2.tau) == ([1, 2], [1, 2, 3, 4, 5, 10])
    assert (params.seeds, params.backbones, params.evaluation.seed) == ([3], ["talnet"], 7)
    assert [system.label for system in experiments.table1(params)] == ["TALNet", "TALNet + GL-AT"]
    run = resolve(params, "talnet", 3, {})
    assert run.name == "talnet-glat-s3" and run.glat.n == 2 and run.audio.clip_seconds == 5.0
    assert other.glat == load(PARAMS).glat and other.audio == load(PARAMS).audio and other.seeds == [0]


@pytest.mark.parametrize("section", ["glat", "training", "execution"])
def test_the_command_line_goes_before_a_datasets_own_values(section, tmp_path):
    own = {
        "glat": {"n": 2, "tau": 1.0},
        "training": {"steps": 7, "warmup": 3},
        "execution": {"log_every": 7, "workers": 1},
    }
    settings = yaml.safe_load(PARAMS.read_text())
    settings["datasets"]["mini"][section] = own[section]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    key = next(iter(own[section]))
    params = load(tmp_path / "params.yaml", {section: {key: 3}})
    found = {"glat": params.glat, "training": params.training_of("mini"), "execution": params.execution_of("mini")}[
        section
    ]
    changed, kept = own[section]
    assert getattr(found, changed) == 3 and getattr(found, kept) == own[section][kept]
    both = load(tmp_path / "params.yaml", {section: {key: 3}, f"datasets.mini.{section}": {key: 4}})
    again = {"glat": both.glat, "training": both.training_of("mini"), "execution": both.execution_of("mini")}[section]
    assert getattr(again, changed) == 4


def test_a_wrong_own_value_is_named_once_by_its_place():
    with pytest.raises(GlatError, match=r"params.yaml.*: datasets.mini.glat.n: .*") as error:
        load(PARAMS, {"datasets.mini.glat": {"n": 0}})
    assert str(error.value).count("\n") == 0
    with pytest.raises(GlatError, match="datasets.mini.audio.rate"):
        load(PARAMS, {"datasets.mini.audio": {"rate": 8000}})


def test_equal_compute_is_of_the_backbones_own_steps():
    params = load(PARAMS, {"datasets.mini.training.by_backbone": {"cnn10": {"steps": 100}}})
    assert equal_compute_steps(params, "cnn10") == 250
    assert equal_compute_steps(params, "atsca") == 2.5 * params.training_of("mini").steps
    frozen = load(PARAMS, {"glat.training": "frozen_global", "datasets.mini.training.steps": 600})
    assert equal_compute_steps(frozen, "cnn10") == 600 * (1 + 3 * 1.5) / 3


def test_no_run_holds_how_it_is_executed():
    other = {key: value for key, value in EXECUTED.items() if key != "devices"}
    runs = [resolve(load(PARAMS, {"execution": change}), "cnn10", 0, {}) for change in ({}, other)]
    assert runs[0] == runs[1] and not runs[0].training.model_dump().keys() & Execution.model_fields.keys()
    assert EXECUTED.keys() == Execution.model_fields.keys()
    written = [public(load(PARAMS, {"datasets.mini.execution": change})) for change in ({}, other)]
    assert written[0].pop("execution") != written[1].pop("execution") == Execution(**other).model_dump()
    assert written[0] == written[1], "what a dataset's own file and the report's rule depend on"


EXECUTED = {
    "precision": "float32", "checkpoint_every": 7, "keep_every": 7, "log_every": 7, "workers": 7, "accelerator": "cpu",
    "devices": 2, "nodes": 2, "compile": True,
}  # fmt: skip


def test_settings_come_back_as_they_were_given():
    params = load(PARAMS, {"datasets.mini.training.by_backbone": {"cnn10": {"warmup": 3}}})
    again = parse(json.loads(params.model_dump_json(by_alias=True)))
    assert again == params and again.training_of("mini", "atsca").batch_size == 8


def test_a_default_is_what_params_yaml_says():
    """Defaults of sections are for checkpoints, runs and callers that leave a key out."""

    def compare(section, given, place):
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if isinstance(value, Settings):
                compare(value, given[field.alias or name], f"{place}{name}.")
            elif not field.is_required() and name in given and not isinstance(given[name], dict):
                assert field.get_default() == value, f"{place}{name}"

    settings = yaml.safe_load(PARAMS.read_text())
    compare(load(PARAMS), settings, "")


def test_only_mini_clips_gradients():
    for name in ("audioset", "audioset_balanced"):
        assert load(PARAMS, {"dataset": name}).training_of(name).gradient_clip is None
    assert load(PARAMS).training_of("mini").gradient_clip == 5.0
