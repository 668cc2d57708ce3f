"""A cluster, a copy of the project on a tiny corpus, and Snakemake with the profile as it is shipped."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import slurm
import yaml
from tiny_project import copy_of_the_project, environment

STEPS, EVERY = 40, 4
PLUGIN = "snakemake-executor-plugin-slurm"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    lacking = slurm.missing() + ([] if find_spec(PLUGIN.replace("-", "_")) else [PLUGIN])
    if lacking:
        how = "apt-get install slurm-wlm munge; uv sync --group cluster"
        pytest.skip(f"not there: {', '.join(lacking)} ({how})")
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


class Project:
    """A copy of the project, in which Snakemake runs on the cluster."""

    def __init__(self, folder: Path, cluster: slurm.Cluster, **execution):
        self.folder, self.cluster = copy_of_the_project(folder), cluster
        settings = yaml.safe_load((folder / "params.yaml").read_text())
        settings["tracking"] = {"enabled": True, "models": []}
        settings["execution"] |= execution
        mini = settings["datasets"]["mini"]
        mini["training"] |= {"steps": STEPS, "warmup": 0}
        mini["execution"] |= {"checkpoint_every": EVERY}
        (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))

    def environment(self) -> dict[str, str]:
        given = environment(self.folder)
        # Both nodes are this machine, and their names are Slurm's alone.
        given |= {"PATH": f"{self.cluster.commands}:{given['PATH']}", "MASTER_ADDR": "127.0.0.1"}
        given.pop("SLURM_CONF", None)
        return given

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake with the profile; it asks more often how the jobs are, as they are short."""
        call = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *arguments]
        call += ["--slurm-init-seconds-before-status-checks", "4"]
        with (self.folder / "told.txt").open("w") as told:
            how = {"cwd": self.folder, "env": self.environment(), "stdout": told, "stderr": subprocess.STDOUT}
            return subprocess.Popen(call, **how)

    def end(self, process: subprocess.Popen, seconds: float = 1200) -> int:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"Snakemake did not end:\n{self.told()[-3000:]}") from None

    def make(self, *arguments: str) -> None:
        assert self.end(self.start(*arguments)) == 0, self.told()[-5000:]

    def told(self) -> str:
        return (self.folder / "told.txt").read_text()

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """What Slurm knows of the jobs of a rule in this folder."""
        jobs = [job for job in self.cluster.jobs() if job["Comment"].startswith(f"rule_{rule}_wildcards")]
        return [job for job in jobs if job["WorkDir"] == str(self.folder)]

    def here(self, *command: str) -> None:
        """A command of glat outside the cluster, with settings that say so."""
        given = environment(self.folder) | {"GLAT_SETTINGS": "{}"}
        call = [sys.executable, "-m", "glat.cli", *command]
        done = subprocess.run(call, check=False, cwd=self.folder, env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def project(tmp_path_factory, cluster) -> Project:
    """With trainings on two devices, long enough to be ended on the way."""
    return Project(tmp_path_factory.mktemp("project"), cluster, devices=2)
