"""A Slurm cluster of two nodes on this machine, in a folder and on ports of its own: munged, slurmctld, two slurmd."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import yaml
from tiny_project import copy_of_the_project, environment

# No accounting, as on a small cluster; a default partition with GPUs (that are named only: none is there) and a limit.
# A job that is queued again starts when its credential has expired.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=20
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeHostname={host} Port={ports[1]} CPUs=32 RealMemory={memory} Gres=gpu:2
NodeName=n2 NodeHostname={host} Port={ports[2]} CPUs=32 RealMemory={memory} Gres=gpu:2
PartitionName=other Nodes=n1
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=12:00:00
"""
CLIENTS = ("sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel", "sacct")


def missing() -> list[str]:
    """The programs of Slurm and munge, and the plugin of Snakemake, that are not there."""
    programs = [name for name in ("munged", "slurmctld", "slurmd", *CLIENTS) if find(name) is None]
    return programs + ([] if find_spec(PLUGIN.replace("-", "_")) else [PLUGIN])


def find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """A running one: its own `sbatch`, `srun` and so on stand in `commands`, for the PATH. A variable would not do: a
    job of Snakemake starts its step without Slurm's."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "daemons.log"
        self.daemons: dict[str, subprocess.Popen] = {}
        self.commands = folder / "bin"
        self.commands.mkdir()
        for name in CLIENTS:
            script = f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {find(name)} "$@"\n'
            (self.commands / name).write_text(script)
            (self.commands / name).chmod(0o755)

    def ask(self, *call: str) -> str:
        return subprocess.run([self.commands / call[0], *call[1:]], check=False, capture_output=True, text=True).stdout

    def jobs(self) -> list[dict[str, str]]:
        """What Slurm knows of each job, those that ended among them, oldest first."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [dict(word.partition("=")[::2] for word in line.split()) for line in lines if "JobId=" in line]

    def start(self, name: str, *call: str) -> None:
        """Start a daemon."""
        with self.log.open("ab") as log:
            how = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
            self.daemons[name] = subprocess.Popen(call, **how)
        time.sleep(1)  # each needs the one before

    def start_node(self, node: str) -> None:
        self.start(node, find("slurmd"), "-D", "-f", str(self.folder / "slurm.conf"), "-N", node)

    def idle(self, count: int) -> bool:
        """Whether as many nodes are up, and no job is on them."""
        return f"idle {count}" in self.ask("sinfo", "--noheader", "--partition=main", "--format=%t %D")

    def crash(self, node: str) -> None:
        """End all of a node at once, without a word to slurmctld, and have that notice it without the minutes that it
        would wait for an answer."""
        on_it = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                given = process.environ()
                if given.get("SLURMD_NODENAME") == node and str(self.commands) in given["PATH"]:
                    on_it.append(process)
        steps = {one.parent() for one in on_it if one.parent() and one.parent().name() == "slurmstepd"}
        self.daemons[node].kill()
        self.daemons[node].wait()
        for process in [*steps, *on_it]:  # first those that would tell slurmctld of a job's end
            with suppress(psutil.Error):
                process.kill()
        assert steps, f"no job ran on {node}"
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=crashed")

    def until(self, ready: Callable[[], bool], seen: Callable[[], object], seconds: float = 600) -> None:
        """Wait until something holds; `seen` is told where it does not in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, seen()
            time.sleep(1)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start all of it, and stop it at the end."""
    folder.chmod(0o755)
    found, conf, key = Cluster(folder), folder / "slurm.conf", folder / "munge.key"
    settings = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "folder": folder}
    # MB, of each of two nodes: never less than a training of two processes asks for, which takes a fraction of that here.
    settings["memory"] = max(6200, psutil.virtual_memory().available * 2 // 5 // 2**20)
    conf.write_text(CONFIGURATION.format(ports=free_ports(3), **settings))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")  # Slurm counts files
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    for name in ("state", "n1", "n2"):
        (folder / name).mkdir()
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    munge += [f"--socket={folder}/munge.socket", "--foreground", "--force", "--num-threads=2"]
    try:
        found.start("munged", find("munged"), *munge)
        found.start("slurmctld", find("slurmctld"), "-D", "-f", str(conf))
        for node in ("n1", "n2"):
            found.start_node(node)
        found.until(lambda: found.idle(2), lambda: found.log.read_text()[-3000:], 60)
        yield found
    finally:
        found.ask("scancel", "--user", settings["user"])
        time.sleep(1)
        for process in reversed(found.daemons.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


STEPS, EVERY = 40, 4
PLUGIN = "snakemake-executor-plugin-slurm"


class Project:
    """A copy of the project, in which Snakemake runs on the cluster."""

    def __init__(self, folder: Path, cluster: Cluster, **execution):
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

    @contextmanager
    def inserted(self, line: str) -> Iterator[None]:
        """Each step of this copy's training does something more at its beginning."""
        stage = self.folder / "glat/training/stage.py"
        code = stage.read_text()
        begin = "    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:\n"
        assert begin in code
        stage.write_text(code.replace(begin, f"{begin}        {line}\n"))
        try:
            yield
        finally:
            stage.write_text(code)

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
