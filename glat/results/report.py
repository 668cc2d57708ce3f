"""results/report.html: all tables, figures and pictures on one page that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from ..config import experiments
from ..config.params import Params, public
from ..config.runs import Run
from ..config.systems import title as method_title
from ..lib.files import remove, whole
from ..lib.provenance import commit
from ..scoring.manifest import DIGITS
from ..training import convergence
from . import clip, text
from .measured import missing_reason, read_curve, read_metrics
from .page import image, render
from .published import FIG2
from .registry import PARTIAL


def table(path: Path) -> Markup:
    """A Markdown file as HTML without its title; its tables scroll sideways on a narrow screen."""
    title, _, rest = path.read_text().partition("\n")
    # Our tables have no links or pictures: what looks like one comes from a user's list.
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = parser.disable(["image", "link", "autolink", "reference"]).render(rest if title.startswith("# ") else title)
    html = html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return Markup(html)


def sections(params: Params, folder: Path, missing: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Title, text and content of each section, read from `folder`.

    A section whose runs are missing is read from `folder`/partial, where `glat partial` has just written it; if it
    can't be made without these runs, it says so.
    """

    def part(title: str, results: list[str], names: list[tuple[str, str]], text: str = ""):
        systems = [one for result in results for one in experiments.systems_of(params, result)]
        lost = [run.name for run in experiments.runs_of(systems) if run.name in missing]
        place = folder / PARTIAL if lost else folder
        absent = [name for name, _ in names if not (place / name).exists()]
        if absent:
            why = f"runs are missing: {', '.join(lost)}" if lost else f"{', '.join(absent)} does not exist"
            return {"title": title, "text": f"Not made: {why}.", "content": []}
        content = [_content(place / name, alt) for name, alt in names]
        return {"title": title, "text": text, "content": content}

    yield part("Table 1", ["table1"], [("table1.md", "")])
    names = [("pr_curves.svg", "Precision against recall, mean over classes")]
    yield part("Precision and recall", ["pr_curves"], names)
    yield part("Table 2", ["table2"], [("table2.md", "")])
    for panel, setting in experiments.FIG2.items():
        names = [(f"fig2{panel}.svg", f"mAP and cost against {setting}")]
        yield part(f"Fig. 2({panel})", [f"fig2{panel}"], names, FIG2[setting])
    yield part("Controls", ["controls"], [("controls.svg", "mAP of every control"), ("controls.md", "")])
    names = [("localisation.md", ""), ("localisation.svg", "Share of windows that hit")]
    names += [("detection.svg", "When each sound is heard"), ("durations.svg", "AP gain")]
    yield part("Where it listens", ["localisation"], names)
    clips = [(f"clips/{path.name}", "") for path in sorted((folder / "clips").glob("*.json"))]
    network, notes = _pictured_network(experiments.table2(params)[-1].runs[0], missing)
    origin = "Evaluation clips drawn at random (evaluation.seed), whatever a network makes of them."
    yield part(f"Clips: {network}", ["table2"], clips, " ".join([origin, *notes]))
    names = [(f"training_{of}.svg", f"Loss of the runs of {of}") for of in ("table1", "fig2", "controls")]
    what = "The loss of every run of Table 1, of Fig. 2 and of the controls."
    yield part("Training", ["training_curves"], names, what)


def _content(path: Path, alt: str) -> Markup:
    match path.suffix:
        case ".md":
            return table(path)
        case ".json":
            return clip.show(clip.read(path))
    return image(path, alt)


def _pictured_network(run: Run, missing: dict[str, str]) -> tuple[str, list[str]]:
    """The title of the network that clips are pictured with, with its marks, and notes on these."""
    title = method_title(run)
    if run.name in missing:
        return title, []
    finding = read_metrics(run.folder / "metrics.json").get("convergence")
    named = {"method": title, "not_converged": convergence.marked(finding)}
    return convergence.name(title, finding), text.mark_notes([named])


def run_rows(runs: list[Run]) -> list[dict[str, Any]]:
    """One row per run: what was trained, how long it took, and what it costs."""
    rows = []
    for run in runs:
        metrics = read_metrics(run.folder / "metrics.json")
        seconds = 0.0 if run.untrained else read_curve(run.folder / "train.csv")["seconds"].iloc[-1]
        rows.append(
            {
                "run": run.name,
                "network": run.entry.title,
                "steps": 0 if run.untrained else run.training.steps,
                "batch": run.training.batch_size,
                "parameters": f"{metrics['parameters']:,}",
                "clips": f"{metrics['clips']} ({metrics['manifest']['sha256'][:DIGITS]})",
                "mAP": f"{metrics['streams']['fused']['mAP']['value']:.3f}",
                "converged": _convergence_cell(metrics),
                "training (min)": f"{seconds / 60:.1f}",
                "million multiply-adds a clip": f"{metrics['cost']['multiply_adds_per_clip'] / 1e6:,.0f}",
                "ms a clip": f"{1000 * metrics['cost']['seconds_per_clip']:.1f}",
                "precision": metrics["precision"],
            }
        )
    return rows


def _convergence_cell(metrics: dict[str, Any]) -> str:
    """Whether a run's training had converged, with its mark and the numbers of the decision."""
    found = metrics.get("convergence") or {"state": convergence.UNKNOWN, "reason": "evaluate the run again"}
    mark = f" {convergence.MARK}" if convergence.marked(found) else ""
    return f"{found['state']}{mark}" + (f": {found['reason']}" if found["reason"] else "")


def environments(runs: list[Run]) -> list[dict[str, Any]]:
    """The distinct commits, versions and hardware that the runs were trained and evaluated with."""
    found: list[dict[str, Any]] = []
    for run in runs:
        metrics = read_metrics(run.folder / "metrics.json")
        for step, maker in (("trained", metrics.get("trained")), ("evaluated", metrics)):
            if maker and (environment := maker["environment"] | {f"{step} at commit": maker["commit"]}) not in found:
                found.append(environment)
    return found


def write(params: Params, folder: Path, partial: bool = False) -> None:
    """Write report.html into `folder` from the results beside it.

    With `partial`, `folder` is that of the partial results, its parent has the others, and the page says what is
    missing. A complete report removes the partial results.
    """
    whole_results = folder.parent if partial else folder
    runs = experiments.runs_of(experiments.systems_of(params, "report"))
    missing = {run.name: why for run in runs if (why := missing_reason(run))} if partial else {}
    there = [run for run in runs if run.name not in missing]
    rows = run_rows(there)
    page = render(
        "results/report.html.j2",
        [clip.SCRIPT],
        dataset=params.dataset,
        seeds=params.seeds,
        missing=missing,
        sections=list(sections(params, whole_results, missing)),
        runs=rows,
        minutes=sum(float(row["training (min)"]) for row in rows),
        environments=environments(there),
        commit=commit(),
        settings=yaml.safe_dump(_effective_settings(params), sort_keys=False),
    )
    with whole(folder / "report.html") as part:
        part.write_text(page)
    if not partial:
        remove(folder / PARTIAL)


def _effective_settings(params: Params) -> dict[str, Any]:
    """The settings without secrets, with the dataset's overrides of `training` applied."""
    special = {name: params.training_of(params.dataset, name).model_dump() for name in params.special(params.dataset)}
    return public(params) | {"training": params.training_of(params.dataset).model_dump() | {"by_backbone": special}}
