"""The model that MLflow serves, asked by somebody who means no good: paths, bombs, what is no sound."""

import ast
import os
import subprocess
import sys
import time
import tracemalloc
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ROOT, TINY
from data_fixtures import written
from mlflow.exceptions import MlflowException
from own_backbone import LAYER, OWN

from glat.config.params import load
from glat.config.runs import resolve
from glat.config.settings import Served
from glat.lib import dependencies
from glat.training import checkpoints
from glat.use import pyfunc, tagging
from glat.use.pyfunc import SIGNATURE, Tags

LIMITS = Served(max_bytes=400_000, max_seconds=25.0, max_sounds=3, timeout=60.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained network."""
    run = resolve(load(ROOT / "params.yaml", TINY), "cnn10", 0, {})
    classes = [{"mid": f"/m/{index}", "display_name": f"Class {index}"} for index in range(run.classes)]
    path = tmp_path_factory.mktemp("model") / "checkpoint.pt"
    checkpoints.save(checkpoints.build(run, classes).eval(), run, classes, 1, path, fingerprint="made for a test")
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    model = Tags()
    model.load_context(SimpleNamespace(artifacts={"checkpoint": str(checkpoint)}, model_config=LIMITS.model_dump()))
    return model


def ask(model, *rows, **params):
    return model.predict(None, pd.DataFrame(list(rows)), params)


def audio(samples, rate=32000, kind="FLAC"):
    return written(samples, rate, kind=kind)


def noise(seconds, rate=32000):
    return np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * rate))


def refused(model, *rows):
    with pytest.raises(MlflowException) as told:
        ask(model, *rows)
    assert told.value.get_http_status_code() == 400 and "\n" not in told.value.message
    return told.value.message


def test_bytes_and_samples_of_one_sound_are_tagged_alike(model):
    rows = [{"audio": audio(noise(12))}, {"waveform": noise(12).tolist()}]
    model = served_with(model, max_bytes=10**7)
    found = ask(model, *rows[:1], top=3)
    assert found["start"].tolist() == [0, 0, 0, 10, 10, 10] and found["end"].iloc[-1] == pytest.approx(12)
    other = ask(model, *rows[1:], top=3)
    assert found["label"].tolist() == other["label"].tolist()
    assert found["score"].tolist() == pytest.approx(other["score"].tolist(), abs=1e-3)
    assert len(ask(model, {"audio": audio(noise(1))}, top=10**9)) == len(model.tagger.labels)
    assert len(ask(model, {"audio": audio(noise(1))}, top=None)) == 5
    with pytest.raises(MlflowException, match="params.top: expected a whole number from 1, found -1"):
        ask(model, {"audio": audio(noise(1))}, top=-1)
    with pytest.raises(MlflowException, match="params.top: expected a whole number, found 'all'"):
        ask(model, {"audio": audio(noise(1))}, top="all")


def test_a_request_has_the_options_of_the_command(model, checkpoint):
    sound, large = noise(12), served_with(model, max_bytes=10**7)
    soundfile.write(checkpoint.with_name("x.flac"), sound, 32000)
    tagger, content = tagging.load(checkpoint), checkpoint.with_name("x.flac").read_bytes()
    for options in ({"hop": 5.0}, {"events": True, "threshold": 0.4, "hop": 2.5}, {"threshold": 0.5, "top": 2}):
        found = ask(large, {"audio": content}, **options)
        expected = tagger.tag(checkpoint.with_name("x.flac"), **options)
        assert len(found) == len(expected) > 0
        assert list(zip(found["start"], found["end"], found["label"], strict=True)) == [one[1:4] for one in expected]
    told = {
        "hop": "params.hop: expected a number from 0.1 to 10 s",
        "calibrated": "params.calibrated: expected true or",
    }
    for name, why in told.items():
        with pytest.raises(MlflowException, match=why):
            ask(large, {"audio": content}, **{name: 0})
    with pytest.raises(MlflowException, match="params.calibrated: this model was logged without"):
        ask(large, {"audio": content}, calibrated=True)
    # What overlaps is computed twice, and counts twice: 5 clips of 10 s are over 25 s.
    with pytest.raises(MlflowException, match="longer than the 25 s"):
        ask(large, {"audio": content}, hop=0.5)


def test_no_sound_that_scores_nan_is_taken(model):
    for peak in (1e20, 3e38, 1e300, 101):
        told = refused(model, {"waveform": [peak, -peak] * 1600})
        assert told == "input 0: waveform: expected a list of finite samples in [-1, 1]"
    loud = written(np.tile([1e20, -1e20], 1600), 32000, "FLOAT")
    assert "too loud: samples of 1e+20 times full scale, from 0.00 s on" in refused(model, {"audio": loud})
    assert np.isfinite(ask(model, {"waveform": [50.0, -50.0] * 16000})["score"]).all()


def test_a_path_is_never_opened(model, tmp_path):
    """Whether it is there, is none, or is a pipe that nobody writes to: the answer is one and the same."""
    (tmp_path / "sound.wav").write_bytes(audio(noise(1), kind="WAV"))
    os.mkfifo(tmp_path / "pipe")
    assert "file" not in SIGNATURE.inputs.input_names()
    for column in ("file", "audio", "waveform"):
        told = {refused(model, {column: str(tmp_path / name)}) for name in ("sound.wav", "pipe", "nothing.wav")}
        assert len(told) == 1 and str(tmp_path) not in told.pop()


def test_a_bomb_is_refused_before_it_goes_off(model):
    """An hour of silence in some kilobytes, in each format that packs it so well, and a sound beyond the bytes."""
    silence, begun = np.zeros(3600 * 8000, np.int16), time.monotonic()
    tracemalloc.start()
    for kind in ("FLAC", "MP3"):
        packed = audio(silence if kind == "FLAC" else silence[: 1200 * 8000], 8000, kind)
        assert len(packed) < (LIMITS.max_bytes if kind == "FLAC" else 10**7)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        big = served_with(model, max_bytes=10**7)
        told = refused(big, {"audio": packed})
        assert "longer than the 25 s of sound that one request may have" in told
        assert tracemalloc.get_traced_memory()[1] - before < 60e6, kind
    tracemalloc.stop()
    assert time.monotonic() - begun < 120
    assert "bytes, over the limit of 400000" in refused(model, {"audio": audio(noise(10))})
    assert "longer than the 25 s" in refused(model, {"waveform": [0.0] * (26 * 32000)})


def served_with(model, **limits):
    other = Tags()
    other.__dict__ = model.__dict__ | {"limits": model.limits.model_copy(update=limits)}
    return other


def test_the_limits_are_those_of_a_request_and_not_of_each_sound(model):
    second = {"audio": audio(noise(1))}
    assert "4 sounds; at most 3 a request" in refused(model, *[second] * 4)
    large = served_with(model, max_bytes=10**7)
    assert refused(large, {"audio": audio(noise(20))}, {"waveform": noise(20).tolist()}).startswith("input 1: ")
    told = refused(model, {"audio": audio(np.zeros(60_000, np.int16), 1000)})
    assert told.endswith("over 50 s to decode, the limit (twice tracking.served.max_seconds)")
    assert "not done within 1e-06 s" in refused(served_with(model, timeout=1e-6), {"waveform": noise(1).tolist()})


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"audio": b""}, "audio: "), ({"audio": b"<!doctype html>"}, "audio: "), ({"other": 1}, "give one of"),
        ({"audio": None}, "give one of waveform, audio"), ({"waveform": [[1.0], [2.0, 3.0]]}, "finite samples"),
        ({"audio": "not bytes"}, "audio: expected the bytes"), ({"audio": 5}, "audio: expected the bytes"),
        ({"waveform": []}, "finite samples"), ({"waveform": [np.nan]}, "finite samples"),
        ({"waveform": ["x"]}, "finite samples"), ({"waveform": [[1.0], [2.0]]}, "finite"),
        ({"audio": b"RIFF\xff\xff\xff\xffWAVEfmt "}, "audio: "), ({"waveform": [0.1], "audio": b"x"}, "not waveform and audio"),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_refused_in_a_sentence(model, row, why):
    assert why in refused(model, row)


def test_nothing_at_all_is_refused(model):
    with pytest.raises(MlflowException, match="give one of waveform, audio"):
        model.predict(None, pd.DataFrame(index=range(2)), {})
    with pytest.raises(MlflowException, match="give one of waveform, audio"):
        model.predict(None, pd.DataFrame(), {})


@pytest.mark.parametrize("module", ["served_network", "served_package.network"])
def test_a_served_network_of_ones_own_has_its_code_with_it(module, tmp_path, monkeypatch):
    place = tmp_path / "project"
    (place / "served_package").mkdir(parents=True)
    (place / "served_package/__init__.py").touch()
    (place / f"{module.replace('.', '/')}.py").write_text(
        OWN.replace("from own_layer", f"from {'.' * module.count('.')}served_layer")
    )
    (place / "served_package/served_layer.py" if "." in module else place / "served_layer.py").write_text(LAYER)
    (place / "unrelated.py").write_text("raise ValueError\n")
    monkeypatch.syspath_prepend(place)
    networks = {"mine": {"model": f"{module}:Mine"}}
    run = resolve(load(ROOT / "params.yaml", TINY | {"backbones": ["mine"], "networks": networks}), "mine", 0, {})
    classes = [{"mid": f"/m/{index}", "display_name": f"Class {index}"} for index in range(run.classes)]
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(checkpoints.build(run, classes).eval(), run, classes, 1, path, fingerprint="made for a test")
    mlflow.pyfunc.save_model(
        tmp_path / "model", python_model=pyfunc.__file__.replace("pyfunc.py", "served.py"), signature=SIGNATURE,
        artifacts={"checkpoint": str(path)}, pip_requirements=["mlflow"], code_paths=list(map(str, pyfunc.code(run))),
    )  # fmt: skip
    assert not list((tmp_path / "model").rglob("unrelated.py"))
    place.rename(tmp_path / "elsewhere")
    asked = (
        "import mlflow, pandas; model = mlflow.pyfunc.load_model('model')\n"
        "print(len(model.predict(pandas.DataFrame({'waveform': [[0.0] * 32000]}), params={'top': 3})))"
    )
    told = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.stdout == "3\n", told.stderr


def test_a_served_model_asks_for_what_its_code_imports():
    """Imported as a server in an environment of its own imports it: at the top of each module."""
    found = set()
    for path in dependencies.sources("glat.use.pyfunc"):
        for node in ast.parse(path.read_text()).body if path.suffix == ".py" else ():
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    others = {{"yaml": "pyyaml"}.get(name, name) for name in found - set(sys.stdlib_module_names) - {"glat"}}
    brought = {"pydantic_core", "starlette", "fastapi", "anyio"}  # by those that it asks for
    assert others - brought <= set(pyfunc.REQUIREMENTS)
