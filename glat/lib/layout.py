"""Where everything lies below the project's folder. The folders are spelled here and as patterns in the rules of
workflow/; a file's name also stands where the file is written.

    data/<dataset>/dataset.json                           settings, for DVC
    data/<dataset>/source/, source.json                   what was fetched for all shards, and what that is
    data/<dataset>/metadata/                              the lists
    data/<dataset>/audio/<split>/<shard>.csv, <shard>/    what was got, and the audio
    data/<dataset>/resampled/<split>/<shard>/
    data/<dataset>/packs/<split>/<shard>.h5, .ledger.csv
    weights/                                              published weights from an address
    runs/<dataset>/<run>/                                 config.yaml, checkpoint.pt, train.csv, metrics.json, ...
    results/<dataset>/                                    tables, figures, reports
    logs/<dataset>/<step>/<run>.log                       what a run's training and evaluation printed

Paths are relative to the working directory.
"""

from __future__ import annotations

from pathlib import Path

CLASS_LIST = "class_labels_indices.csv"
CONFIG, CHECKPOINT, METRICS, TEACHER = "config.yaml", "checkpoint.pt", "metrics.json", "teacher.h5"
HUB_CONFIG = "config.json"  # of a folder for the Hugging Face Hub
RUNS = Path("runs")
WEIGHTS = Path("weights")  # from an address, under their own name


def shard_count(clips: int, shard_size: int) -> int:
    """Number of shards of up to `shard_size` clips."""
    return -(-clips // shard_size)


def segment_list(split: str) -> str:
    return f"{split}_segments.csv"


def strong_list(split: str) -> str:
    return f"{split}_strong.tsv"


def framed_list(split: str) -> str:
    return f"{split}_strong_framed_posneg.tsv"


class Data:
    """The folder data/<dataset>, below `root`."""

    def __init__(self, dataset: str, root: Path = Path()):
        self.folder = root / "data" / dataset

    @property
    def settings(self) -> Path:
        return self.folder / "dataset.json"

    @property
    def source(self) -> Path:
        """The folder of what was fetched for all shards."""
        return self.folder / "source"

    @property
    def fetched(self) -> Path:
        """What was fetched for all shards, written once all of it is there."""
        return self.folder / "source.json"

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    @property
    def class_list(self) -> Path:
        return self.metadata / CLASS_LIST

    def segments(self, split: str) -> Path:
        return self.metadata / segment_list(split)

    def strong(self, split: str) -> Path:
        return self.metadata / strong_list(split)

    def framed(self, split: str) -> Path:
        return self.metadata / framed_list(split)

    def audio(self, split: str, shard: int) -> Path:
        """The folder of a shard's audio, where the source makes files."""
        return self._shard("audio", split, shard)

    def listing(self, split: str, shard: int) -> Path:
        """The table of what was got of a shard."""
        return self._shard("audio", split, shard, ".csv")

    def resampled(self, split: str, shard: int) -> Path:
        return self._shard("resampled", split, shard)

    def pack(self, split: str, shard: int) -> Path:
        return self._shard("packs", split, shard, ".h5")

    def ledger(self, split: str, shard: int) -> Path:
        """The table of the clips of a shard that were lost."""
        return self._shard("packs", split, shard, ".ledger.csv")

    def _shard(self, kind: str, split: str, shard: int, suffix: str = "") -> Path:
        return self.folder / kind / split / f"{shard:03d}{suffix}"


def dataset_of_pack(path: Path) -> str | None:
    """The dataset of a pack where it lies; None for one that lies elsewhere."""
    match path.parts:
        case (*_, "data", dataset, "packs", _, _):
            return dataset
    return None


def run(dataset: str, name: str) -> Path:
    """The folder of a run."""
    return RUNS / dataset / name


def log(dataset: str, step: str, name: str) -> Path:
    """What a step of a run, "train" or "evaluate", printed in the workflow."""
    return Path("logs") / dataset / step / f"{name}.log"


def is_run_file(path: Path) -> bool:
    """Whether a path is that of a file in a run's folder, as runs/<dataset>/<run>/config.yaml."""
    return path.parts[-4:-3] == (RUNS.name,)


def published_run(backbone: str, whose: str = "panns") -> str:
    """The name of the run that published weights of a backbone become."""
    return f"{backbone}-{whose}"


def results(dataset: str) -> Path:
    return Path("results") / dataset
