"""What Snakemake knows of its outputs, kept in files of their own, so that it travels with them.

Whether an output is up to date Snakemake judges by what it wrote down when it made it (settings, set of inputs, their
checksums, rule), under `.snakemake/` of the folder it ran in, and by time stamps. DVC brings outputs from elsewhere: to
a clone, to the folder of an experiment, back to an older commit. There the notes are missing, or are those of other
files, and time stamps say nothing. So `write` keeps the notes as one more output, `records/<dataset>/<stage>.json`,
which DVC carries beside the files that it is about, and `adopt` hands them to Snakemake where outputs were not made
here. A record holds no time, so that equal outputs have equal records.

The notes are Snakemake's private affair: this is tested with its version `TESTED`. With another one no record is written
or read, so that files from elsewhere may be made again, and nothing else suffers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

from .documents import read_json
from .errors import GlatError, warn
from .files import whole

TESTED = "9.27."  # how the version of Snakemake begins whose notes these are
# Of the notes, what Snakemake judges by.
KEPT = ("record_format_version", "rule", "input", "params", "code", "software_stack_hash", "input_checksums")
ENDS = 2**24  # bytes at each end of a file that its fingerprint is made from
LONG_AGO = 1.0  # seconds since 1970: older than any input


def supported() -> bool:
    """Whether this Snakemake is of the version that records are tested with; says so where it is not."""
    found = version("snakemake")
    if not found.startswith(TESTED):
        warn(f"records of DVC are tested with Snakemake {TESTED}*, not {found}: they are not used")
    return found.startswith(TESTED)


class Notes:
    """Snakemake's own notes on outputs, in `.snakemake/metadata` of the folder where it runs."""

    def __init__(self) -> None:
        from snakemake.persistence import MetadataRecord, file  # slow to import, and private

        self.store, self.record = file.FilePersistence(path=Path(".snakemake").absolute()), MetadataRecord

    def of(self, output: str) -> Any:
        return self.store._read_record(output)

    def take(self, output: str, made: dict[str, Any]) -> None:
        ended = modified(output) if Path(output).exists() else None
        self.store._write_record(output, self.record(**made, incomplete=False, endtime=ended))

    def are_of_this_file(self, output: str) -> bool:
        """Whether the notes are on the file that is there, and not on one that it replaced."""
        ended = (notes := self.of(output)) and notes.endtime
        return ended is not None and abs(ended - modified(output)) < 0.001


def write(path: Path, outputs: Iterable[str]) -> None:
    """Write the record of `outputs`, each with a fingerprint of itself and of its inputs that are too big for Snakemake
    to compare by content. Outputs may be gone that served only to make others: their notes are kept all the same.
    Those that Snakemake has no notes on are left out, and those that are older than such an input: they were made from
    another one.
    """
    entries = dict(_entries(sorted(set(outputs)))) if supported() else {}
    with whole(path) as part:
        part.write_text(json.dumps(entries, indent=1, sort_keys=True))


def _entries(outputs: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    notes = Notes()
    for output in outputs:
        if (made := notes.of(output)) is None:
            continue
        big = [name for name in made.input or [] if name not in made.input_checksums and Path(name).exists()]
        exists = Path(output).exists()
        if not (exists and any(modified(name) > modified(output) for name in big)):
            yield (
                output,
                {
                    "fingerprint": fingerprint(output) if exists else None,
                    "inputs": {name: fingerprint(name) for name in big},
                    "made": {key: getattr(made, key) for key in KEPT},
                },
            )


def adopt(folder: Path) -> list[str]:
    """Give Snakemake the notes on outputs that stand in the records of `folder` and were not made here; returns these.

    An output whose inputs are no longer those that it was made from gets a time stamp older than they are, so Snakemake
    makes it again; any other one is made no older than its inputs. Nothing but time stamps of outputs is changed.

    Raises:
        GlatError: a damaged record.
    """
    files = sorted(folder.glob("*.json"))
    records = {path: read(path) for path in files} if files and supported() else {}
    entries = {output: entry for record in records.values() for output, entry in record.items()}
    if not entries:
        return []
    notes = Notes()
    foreign = {
        output
        for output, entry in entries.items()
        if Path(output).exists() and not notes.are_of_this_file(output) and fingerprint(output) == entry["fingerprint"]
    }
    for output in TopologicalSorter({output: entries[output]["made"]["input"] for output in foreign}).static_order():
        if output not in foreign:
            continue
        entry = entries[output]
        newest = max([modified(name) for name in entry["inputs"] if Path(name).exists()], default=LONG_AGO)
        if has_changed(entry, entries):
            touch(output, LONG_AGO)
        elif newest > modified(output) or Path(output).is_dir():
            touch(output, newest)
        notes.take(output, entry["made"])
        for name in absent(entry, entries):
            notes.take(name, entries[name]["made"])
    for path, record in records.items():
        there = [output for output in record if Path(output).exists()]
        if foreign & set(there) and all(fingerprint(output) == record[output]["fingerprint"] for output in there):
            touch(path, time())  # it is still the record of what is there
    return sorted(foreign)


def read(path: Path) -> dict[str, Any]:
    """The entries of a record by output; none if another version of Snakemake wrote its notes in another form."""
    from snakemake.persistence import RECORD_FORMAT_VERSION

    again = f"`dvc checkout {path}` brings it back, or remove it"
    try:
        entries = read_json(path, again, again)
        return {o: e for o, e in entries.items() if e["made"]["record_format_version"] == RECORD_FORMAT_VERSION}
    except (AttributeError, KeyError, TypeError):
        raise GlatError(f"{path}: damaged; {again}") from None


def absent(entry: dict[str, Any], entries: dict[str, Any]) -> Iterator[str]:
    """What an output was made through and what is not there, back to the first step that has left something."""
    for name in entry["made"]["input"]:
        if name in entries and not Path(name).exists():
            yield name
            yield from absent(entries[name], entries)


def has_changed(entry: dict[str, Any], entries: dict[str, Any]) -> bool:
    """Whether an input is there that is not what the output, or what it was made through, was made from."""
    small = entry["made"]["input_checksums"].items()
    return (
        any(Path(name).is_file() and checksum(name) != found for name, found in small)
        or any(Path(name).exists() and fingerprint(name) != found for name, found in entry["inputs"].items())
        or any(has_changed(entries[name], entries) for name in absent(entry, entries))
    )


def checksum(path: str) -> str:
    """As Snakemake takes it."""
    return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's length and of both its ends (quick for a pack of gigabytes), or of a folder's files."""
    path, digest = Path(path), hashlib.sha256()
    if path.is_dir():
        for part in sorted(part for part in path.rglob("*") if part.is_file()):
            digest.update(f"{part.relative_to(path)} {fingerprint(part)}\n".encode())
        return digest.hexdigest()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(ENDS))
        file.seek(max(ENDS, size - ENDS))
        digest.update(file.read(ENDS))
    return digest.hexdigest()


def modified(path: str | Path) -> float:
    """Time of the last change, as Snakemake takes it: a folder's is that of a file which it puts there."""
    return _stamp(path).stat().st_mtime


def touch(path: str | Path, when: float) -> None:
    os.utime(_stamp(path), (when, when))


def _stamp(path: str | Path) -> Path:
    inside = Path(path) / ".snakemake_timestamp"
    return inside if inside.exists() else Path(path)
