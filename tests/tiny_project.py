"""A copy of the whole project on a tiny corpus, what is run in it, and one such copy in which everything was made."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
MADE = ("data", "runs", "results", "records")


def environment(project: Path) -> dict[str, str]:
    """Of this interpreter's own commands, without glat's: a copy's own glat is what runs in it."""
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    own |= {f"GIT_{who}_{key}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    own |= {"DVC_SITE_CACHE_DIR": str(project.parent / "dvc-site"), "GIT_CONFIG_GLOBAL": os.devnull}
    return os.environ | own


def run(project: Path, *call: str, check: bool = True, **options) -> subprocess.CompletedProcess:
    how = {"cwd": project, "env": environment(project), "capture_output": True, "text": True}
    done = subprocess.run(call, check=False, **how, **options)
    assert not check or done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


def snakemake(project: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return run(project, sys.executable, "-m", "snakemake", *arguments, check=check)


def dvc(project: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    return run(project, "dvc", *arguments, **options)


def git(project: Path, *arguments: str) -> str:
    return run(project, "git", *arguments).stdout


def reruns(project: Path, *arguments: str) -> set[str]:
    """The rules that a dry run would run."""
    out = snakemake(project, "-n", "--cores", "2", *arguments).stdout
    lines = out.partition("Job stats:")[2].partition("total")[0].split("\n")[3:]
    return {line.split()[0] for line in lines if line.strip()}


def copy_of_the_project(folder: Path) -> Path:
    unmade = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
    for name in ("glat", "workflow", "profiles", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=unmade)
    for name in ("Snakefile", "environment.yml", "dvc.yaml", ".dvcignore", ".gitignore", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings |= {"backbones": ["cnn10"], "report": {"clips": 1}, "tracking": {"enabled": False}}
    settings["table1"]["two_networks"] = []
    settings["fig2"] |= {"n": [5], "tau": [2, 3]}
    # One control of each kind: more steps, another selection, a run that starts from another.
    settings["controls"]["settings"] = ["equal compute", "random", "frozen global stream"]
    mini = settings["datasets"]["mini"]
    mini |= {"splits": {"train": 20, "eval": 10}, "shard_size": 10}
    mini["training"] |= {"steps": 6, "batch_size": 4}
    mini["execution"] |= {"checkpoint_every": 2, "log_every": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def killed(project: Path, when, *arguments: str) -> None:
    """Start snakemake, and kill it with all that it started as soon as `when` gives a list that is not empty."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    call = [sys.executable, "-m", "snakemake", *arguments, "--cores", "8"]
    process = subprocess.Popen(call, cwd=project, env=environment(project), start_new_session=True, **quiet)
    deadline = time.monotonic() + 600
    while not when() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    snakemake(project, "--unlock")
    assert when()


def contents(project: Path) -> dict[Path, bytes]:
    """Every file that was made, with a hash of it."""
    files = [path for name in MADE for path in (project / name).rglob("*")]
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in files if path.is_file()}


def make_everything(project: Path) -> str:
    """Make all of it: by Snakemake, which is killed twice, at the start of the making and half-way; in between by DVC,
    which in the end records what Snakemake made. Returns what DVC printed then."""
    copy_of_the_project(project)
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "the project")
    killed(project, lambda: list(project.glob("data/mini/audio/*/000/*.m4a")), "packs")
    assert not list(project.glob("data/mini/packs/*/*.h5"))
    dvc(project, "repro", "packs")
    killed(project, lambda: list(project.glob("runs/mini/*/metrics.json")))
    # Finished is what Snakemake saw the end of: it then began to evaluate it.
    trained = [log.stem for log in project.glob("logs/mini/evaluate/*.log")]
    found = [path for run in trained for path in project.glob(f"runs/mini/{run}/checkpoint.pt")]
    before = {path: path.stat().st_mtime_ns for path in found}
    snakemake(project, "--cores", "8")
    assert before and all(path.stat().st_mtime_ns == at for path, at in before.items()), "a finished run was redone"
    made = contents(project)
    recorded = dvc(project, "repro")
    assert contents(project) == made, "what was made is not what DVC recorded"
    return recorded.stdout + recorded.stderr


def made_once(session: Path) -> Path:
    """The finished project of a test session, which its processes share: the first makes it, the others wait. Beside it, in
    `made.done`, stands what DVC printed when it recorded it."""
    project, done = session / "made", session / "made.done"
    with (session / "made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(project, ignore_errors=True)
            project.mkdir()
            done.write_text(make_everything(project))
    return project
