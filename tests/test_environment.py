"""The two ways in agree: environment.yml pins what uv.lock resolves for pyproject.toml."""

import re
import tomllib

import yaml
from conftest import ROOT
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def name(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")


def with_extras(requirement):
    return name(requirement) + (re.search(r"\[[\w,]+\]", requirement) or [""])[0]


def versions():
    """Of each package that uv.lock resolves, the version for environment.yml's Python."""
    here = {"python_full_version": "3.11.9", "python_version": "3.11", "sys_platform": "linux"}
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    fits = lambda markers: not markers or any(Marker(marker).evaluate(here) for marker in markers)
    return {p["name"]: p["version"] for p in packages if fits(p.get("resolution-markers"))}


def all_of(project):
    """What the project and its tests need, the extras among it, but for `sed`, which takes a C++ compiler."""
    found = project["project"]["optional-dependencies"].items()
    extras = [one for extra, some in found if extra != "sed" for one in some]
    own = [one for one in project["dependency-groups"]["dev"] if not one.startswith("glat[")]
    return [*project["project"]["dependencies"], *extras, *own]


def test_environment_yml_pins_every_dependency_at_the_locked_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = versions()
    asked = all_of(project)
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    pinned = {f"{with_extras(r)}=={locked[name(r)]}" for r in asked}
    assert {p for p in pip if p != "-e ."} == pinned
    assert "-e ." in pip and "python=3.11" in conda


def test_the_lock_is_within_the_bounds_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = versions()
    for asked in map(Requirement, all_of(project)):
        assert asked.specifier.contains(locked[canonicalize_name(asked.name)]), asked


def test_torch_and_torchaudio_are_one_pair():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"torch==2.11.0", "torchaudio==2.11.0"} <= set(project["dependencies"])
