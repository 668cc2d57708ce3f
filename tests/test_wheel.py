"""The wheel serves outside the repository: it holds the package whole and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT
from hatchling.builders.wheel import WheelBuilder

from glat.config.runs import resolve
from glat.training import checkpoints


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = str(tmp_path_factory.mktemp("dist"))
    return Path(next(WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def alone(installed: Path, cwd: Path, code: str) -> subprocess.CompletedProcess:
    """Run code with the wheel's glat, without the repository's."""
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); {code}"
    return subprocess.run([sys.executable, "-I", "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = (ROOT / "glat").rglob("*")
    own = {path.relative_to(ROOT).as_posix() for path in package if path.is_file() and "__pycache__" not in path.parts}
    assert names == own and "glat/py.typed" in names


def test_a_network_is_built_in_an_empty_folder(installed, tmp_path):
    code = "import glat.models as m; print(m.__file__, m.build('cnn10', 16, 0.125).parameter_count())"
    done = alone(installed, tmp_path, code)
    assert done.stdout.split() == [str(installed / "glat/models/__init__.py"), "79032"], done.stderr


def test_the_command_tags_in_a_folder_without_settings(installed, tmp_path, params):
    run = resolve(params, "cnn10", 0, {"n": 2})
    classes = [{"mid": f"/m/{i}", "display_name": f"class {i}"} for i in range(run.classes)]
    checkpoints.save(checkpoints.build(run), run, classes, 0, tmp_path / "checkpoint.pt")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 32000), 32000)
    call = "sys.argv = ['glat', *{}]; import glat.cli; glat.cli.main()"
    done = alone(installed, tmp_path, call.format(["tag", "checkpoint.pt", "a.wav", "--top", "1"]))
    assert done.returncode == 0 and done.stdout.startswith("a.wav\t0.0\t1.0\t"), done.stderr
    assert "tag" in alone(installed, tmp_path, call.format(["--help"])).stdout
