"""Where the minutes of a workflow went, by rule: jobs, minutes passed, CPU minutes.

Snakemake measures each job while it runs, and notes it beside the job's log. Rules without a line here take seconds. The
last time of every job counts, also of runs that no result needs any more; CPU time on other nodes does not.

    python -m benchmarks.minutes [--logs logs/mini]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from glat.lib.errors import GlatError

from .report import report


def minutes(logs: Path) -> list[dict[str, str | float]]:
    """A row for each rule, by its folder in `logs`, and one for all."""
    found = [
        pd.read_csv(path, sep="\t", na_values="-").assign(rule=path.relative_to(logs).parts[0])
        for path in sorted(logs.rglob("*.benchmark.tsv"))
    ]
    if not found:
        raise GlatError(f"{logs}: no *.benchmark.tsv there; run snakemake first, or name a dataset's folder of logs")
    sums = (
        pd.concat(found)
        .groupby("rule", sort=False)
        .agg(jobs=("s", "size"), passed=("s", "sum"), cpu=("cpu_time", "sum"))
    )
    sums.loc["all"] = sums.sum()
    return [
        {"rule": str(name), "jobs": int(row.jobs), "minutes": row.passed / 60, "cpu_minutes": row.cpu / 60}
        for name, row in sums.iterrows()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--logs", type=Path, default=Path("logs/mini"))
    report("minutes", minutes(parser.parse_args().logs))


if __name__ == "__main__":
    main()
