"""The commit that made a result."""

import subprocess

import pytest

from glat.lib.provenance import commit, hardware, versions


@pytest.fixture
def source(tmp_path):
    """A source file of a repository, committed."""
    for name in ("glat/module.py", "README.md", "params.yaml", "dvc.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    return tmp_path / "glat/module.py"


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_is_dirty_where_what_makes_results_differs_and_only_there(source):
    head, root = git(source.parent, "rev-parse", "HEAD"), source.parents[1]
    assert commit(source) == head
    (root / "dvc.lock").write_text("as DVC writes it between two stages")
    (root / "README.md").write_text("a word")
    (root / "glat/new.txt").write_text("not tracked")
    assert commit(source) == head
    (root / "params.yaml").write_text("edited")
    assert commit(source) == f"{head}-dirty"


def test_outside_a_repository_or_inside_another_s_the_commit_is_unknown(source, tmp_path_factory):
    alone = tmp_path_factory.mktemp("alone") / "module.py"
    alone.write_text("")
    assert commit(alone) == "unknown (not a git repository)"
    installed = source.parents[1] / ".venv/glat/module.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    assert commit(installed) == "unknown (not a git repository)"


def test_an_environment_as_text():
    found = {"python": "3.11", "torch": "2.11.0", "processor": "Some CPU", "cores": 2, "gpu": "2 x H100"}
    assert versions(found) == "python 3.11, torch 2.11.0" and hardware(found) == "2 x H100, Some CPU, 2 cores"
