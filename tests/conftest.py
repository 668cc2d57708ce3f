"""A tiny corpus, packed once a session: 24 training and 12 evaluation clips, made as `mini` is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_project import made_once

from glat.config.params import Params, load
from glat.data.lists import audioset
from glat.data.packs.write import pack_shard
from glat.data.resample import resample_shard
from glat.data.sources import Shard
from glat.data.sources.synthetic import Synthetic
from glat.lib import process
from glat.lib.logs import to_stderr

ROOT = Path(__file__).parents[1]
# The tests start some hundred Pythons: without compiled modules beside the sources, as some containers ask for, each
# takes three times as long to start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
if "PYTEST_XDIST_WORKER" in os.environ:  # beside the other process, two threads on two cores wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
process.tune()
SPLITS = {"train": 24, "eval": 12}
TINY = {
    "table1.two_networks": [],
    "datasets.mini.splits": SPLITS,
    "datasets.mini.classes": 16,
    "datasets.mini.source": {"classes": None},
    "datasets.mini.hop": 640,
    "datasets.mini.shard_size": 12,
    "datasets.mini.width": 0.125,
    "datasets.mini.training": {"steps": 6, "batch_size": 4, "schedule": "cosine", "warmup": 2},
    "datasets.mini.execution": {"checkpoint_every": 2, "log_every": 2},
}


@pytest.fixture(autouse=True)
def log_on_stderr():
    """As the command has it."""
    to_stderr()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A folder with data/mini/packs/<split>/<shard>.h5, as the project's root has it."""
    root = tmp_path_factory.mktemp("corpus")
    metadata, source = root / "data/mini/metadata", Synthetic(seed=1)
    metadata.mkdir(parents=True)
    source.write_lists(metadata, SPLITS)
    classes = audioset.read_class_list(metadata / "class_labels_indices.csv")
    for split in SPLITS:
        segments = audioset.read_segments(metadata / f"{split}_segments.csv", classes)
        for shard in range(audioset.shard_count(len(segments), 12)):
            rows = audioset.shard_rows(segments, shard, 12)
            audio, out = root / f"audio/{split}{shard}", root / f"resampled/{split}{shard}"
            listing = source.fetch(Shard(rows, audio, split, shard * 12))
            resample_shard(rows, listing, audio, out)
            pack = root / f"data/mini/packs/{split}/{shard:03d}.h5"
            pack_shard(out, rows, classes, pack, pack.with_suffix(".ledger.csv"), 32000, {"dataset": "mini"})
    return root


@pytest.fixture(scope="session")
def made_project(tmp_path_factory) -> Path:
    """A copy of the project in which everything was made, with two kills on the way: to copy from, not to change."""
    session = tmp_path_factory.getbasetemp()
    return made_once(session.parent if "PYTEST_XDIST_WORKER" in os.environ else session)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty working folder, where MLflow's database is the one beside it. Where there should be more in it, a module
    has a fixture of this name of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A database of MLflow with all its tables, which take seconds to make: by a process of its own, as MLflow notes in the
    environment which one it opened."""
    folder = tmp_path_factory.mktemp("mlflow")
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    call = [sys.executable, "-c", "from glat.tracking.store import Store; Store()"]
    subprocess.run(call, check=True, cwd=folder, env=own | {"PYTHONPATH": str(ROOT)})
    return folder / "mlflow.db"


@pytest.fixture
def database(project, empty_database) -> Path:
    """The database of a working folder, made in advance."""
    return Path(shutil.copy(empty_database, project / "mlflow.db"))


@pytest.fixture
def corpus_project(corpus, project) -> Path:
    """A working folder that sees the tiny corpus and the project's settings."""
    (project / "data").symlink_to(corpus / "data")
    shutil.copy(ROOT / "params.yaml", project)
    return project


@pytest.fixture
def params() -> Params:
    """The project's settings, cut down to the tiny corpus."""
    return load(ROOT / "params.yaml", TINY)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A real Slurm of two nodes on this machine, for tests/cluster."""
    import slurm

    if lacking := slurm.missing():
        pytest.skip(f"not there: {', '.join(lacking)} (apt-get install slurm-wlm munge; uv sync --group cluster)")
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def pytest_collection_modifyitems(items) -> None:
    """The longest files first, but `test_dvc` when `test_workflow` has had the time to make the project of both."""
    longest = ["test_workflow", "test_training", "test_tracking_live", "test_tracking", "test_youtube", "test_weights"]
    longest += ["test_audit", "test_audio", "test_dvc"]
    items.sort(key=lambda item: longest.index(item.path.stem) if item.path.stem in longest else len(longest))
