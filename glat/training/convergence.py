"""Had a training converged when it ended? Judged by its own curve alone, never by what it is compared with.

**The rule.** A training has converged where the mean of each of its losses over the last quarter of the training, measured
in steps times learning rate, differs from that over the quarter before by no more than 3 % of the loss at its beginning
(the median over the first tenth, but for the curve's first line), twice the standard error of the difference included; and
where mean validation mAP, if it was watched often enough, is not seen to differ by more than 3 % of itself. Every other
training is marked in tables and figures, as "still moving" where the difference is larger than its error and as "cannot
tell" where noise or a short curve hides it, and no verdict is given on a difference between two systems where one is marked.

Why so. Where the learning rate goes down to 0 (`schedule: cosine`) any curve ends flat: what counts is not how many steps
passed but how far they could go. A loss of a hundredth of its beginning may halve for ever with nothing left to gain, so
the fall is measured by the beginning. Which direction does not matter: a loss that rises has not settled either, and one
that still falls while validation mAP is flat or sinks (overfitting) still moves. GL-AT's streams are judged each by its own
loss, but for a frozen global stream, which does not train. Weights that were published without a curve have "no curve", and
no mark.

Validation mAP is watched only with `tracking` on (`tracking.watch`), so one training may be marked with it and not without:
the looks can set the mark, never remove it, and no score depends on them.

Where the network is selected on validation clips (`training.select: best`), the training is judged as a whole all the same,
whichever of its steps the network is of. Early stopping is not convergence: that validation mAP does not rise for some looks
may come of noise, of overfitting or of a rate that is too low, and with a cosine the stop comes before the rate is near 0. A
training that was stopped early is judged by its curve up to the stop.

What it is not. It sees motion and not success: a network that never learned anything is flat. And it is no promise that a
longer training would score the same.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..config.runs import Run, evaluated, read_run
from ..lib.layout import HUB_CONFIG, METRICS

TOLERANCE = 0.03  # of the loss at the beginning, or of validation mAP
ROWS = 5  # in each of the last two quarters of a curve, at least
CONVERGED, MOVING, UNKNOWN, NO_CURVE = "converged", "still moving", "cannot tell", "no curve"
STATES = (CONVERGED, MOVING, UNKNOWN, NO_CURVE)
CURVE, WATCHED = "train.csv", "validation.csv"
MARK = "†"
NO_VERDICT = "not converged: no verdict"


class Change(NamedTuple):
    """A curve's change from the third quarter of a training to the last, as a share of its scale, with its standard error."""

    change: float
    error: float

    @property
    def state(self) -> str:
        if abs(self.change) + 2 * self.error <= TOLERANCE:
            return CONVERGED
        return MOVING if abs(self.change) > 2 * self.error else UNKNOWN


def change(time: np.ndarray, values: np.ndarray, of_itself: bool = False) -> Change | None:
    """The change of a curve, or None where it has too few rows.

    time: (R,) ascending, how far the training was at the end of each row (steps times learning rate, or steps alone where
    that is constant). values: (R,) means over the rows. The change is a share of the median over the first tenth, without
    the first row, in which a new network learns no more than how rare each class is; or `of_itself`: of the mean over the
    last quarter. The error is that of a difference of two means of independent rows, whose variance is half the mean square
    of successive differences (von Neumann): a trend does not count as noise.
    """
    done = time / time[-1]
    parts = [values[(done > low) & (done <= high)] for low, high in ((0.5, 0.75), (0.75, 1))]
    if min(map(len, parts)) < ROWS:
        return None
    before, after = (part.mean() for part in parts)
    beginning = np.median(values[1 : max(2, int(np.count_nonzero(done <= 0.1)))])
    scale = abs(after if of_itself else beginning) or 1.0
    variances = [np.square(np.diff(part)).mean() / 2 / len(part) for part in parts]
    return Change(float((after - before) / scale), float(np.sqrt(sum(variances)) / scale))


def judge(run: Run, folder: Path) -> dict[str, Any]:
    """What metrics.json says under "convergence": the `state`, the `reason` in words, and the numbers behind it by curve.

    Reads train.csv and validation.csv of the run's folder; the latter counts only if it is of the same steps. The last of them
    is that of the settings, or of an early stop. A run that trains nothing is judged by the one that its weights come from.
    """
    if run.untrained:
        source = Path(run.init["global"] or "").parent
        if not (source / "config.yaml").exists():
            return _finding(NO_CURVE, "its weights were trained elsewhere")
        return judge(read_run(source / "config.yaml"), source)
    if not (folder / CURVE).exists():
        absent = NO_CURVE if run.published else UNKNOWN
        return _finding(absent, f"{CURVE} is not there")
    steps = run.training.steps
    try:
        losses, looks = _read(folder / CURVE), _read(folder / WATCHED)
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        return _finding(UNKNOWN, f"its curve cannot be read ({type(error).__name__})")
    streams = [name for name in ("loss_global", "loss_local") if name in losses]
    streams = [name for name in streams if name.removeprefix("loss_") not in run.frozen_streams]
    end = int(losses[streams[0]][0][-1]) if streams else 0
    if not _may_end_at(run, end):
        return _finding(UNKNOWN, f"{CURVE} does not reach the last of its {steps} steps")
    at, rates = losses.get("learning_rate", (np.array([end]), np.ones(1)))
    at, time = np.append(0, at), np.append(0, np.cumsum(rates * np.diff(at, prepend=0)))
    changes = {name: change(np.interp(losses[name][0], at, time), losses[name][1]) for name in streams}
    curves = {name: one for name, one in changes.items() if one is not None}
    if len(curves) < len(changes):
        few = f"{CURVE} has fewer than {ROWS} lines in a quarter of the training"
        return _finding(UNKNOWN, f"{few}; a lower execution.log_every has more")
    states = {name: one.state for name, one in curves.items()}
    if "mAP_fused" in looks and _looked_up_to(end, looks["mAP_fused"][0], end < steps):
        seen = change(np.interp(looks["mAP_fused"][0], at, time), looks["mAP_fused"][1], of_itself=True)
        if seen:
            # Looks are few and on few clips: they can speak against convergence, not for it.
            against = seen.state == MOVING and abs(seen.change) > TOLERANCE
            curves["mAP_fused"], states["mAP_fused"] = seen, MOVING if against else CONVERGED
    state = next((one for one in (MOVING, UNKNOWN) if one in states.values()), CONVERGED)
    reason = "; ".join(_say(name, curves[name]) for name, one in states.items() if one == state)
    return _finding(state, reason, {name: {**one._asdict(), "state": states[name]} for name, one in curves.items()})


def _may_end_at(run: Run, step: int) -> bool:
    """Whether a whole training may have ended at a step: at its last, or at a look that ends it early."""
    stop = run.training.validation
    early = run.training.select == "best" and stop.patience is not None and step % stop.every == 0
    return step == run.training.steps or (early and 0 < step < run.training.steps)


def _looked_up_to(end: int, at: np.ndarray, early: bool) -> bool:
    """Whether there were looks at the steps `at`, evenly spaced, up to the end of a training; of one that ended early, up to
    the last that was due."""
    return bool(0 <= end - at[-1] < at[0] if early else at[-1] == end)


def found(run: Run, folder: Path) -> dict[str, Any]:
    """The finding of a run as its metrics.json has it, and so tables: validation.csv, which DVC does not carry, may be gone
    since. Of a folder for the Hub, as its settings have it. Of one that is not evaluated (`runs.evaluated`), as `judge` finds
    it."""
    for name in [METRICS] if evaluated(folder) else [HUB_CONFIG]:
        try:
            finding = json.loads((folder / name).read_text())["convergence"]
            if finding["state"] in STATES:
                return finding
        except (OSError, ValueError, LookupError, TypeError):
            pass  # damaged, or of an evaluation that did not look
    return judge(run, folder)


def _finding(state: str, reason: str, curves: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"state": state, "reason": reason, "tolerance": TOLERANCE, "curves": curves or {}}


def _say(name: str, one: Change) -> str:
    what, of = ("validation mAP", "itself") if name.startswith("mAP") else (name.replace("_", " "), "its beginning")
    return f"{what} {100 * one.change:+.1f} ± {200 * one.error:.1f} % of {of} in the last quarter"


def _read(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each column of a curve that has values: its steps and its values. Nothing where there is no such file."""
    if not path.exists():
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            for name, value in row.items():
                if value:
                    found.setdefault(name, []).append((step, float(value)))
    return {name: tuple(np.array(rows).T) for name, rows in found.items()}


def marked(finding: dict[str, Any] | None) -> bool:
    """Whether a training is marked, by what its metrics.json says (None: an evaluation that did not look)."""
    return state(finding) in (MOVING, UNKNOWN)


def state(finding: dict[str, Any] | None) -> str:
    """The state that metrics.json says, "cannot tell" where nobody looked."""
    return (finding or {}).get("state", UNKNOWN)


def name(title: str, finding: dict[str, Any] | None) -> str:
    """A method's title, with the mark of a training that had not converged."""
    return f"{title} {MARK}" if marked(finding) else title


def sentence(run: Run, finding: dict[str, Any]) -> str:
    """The finding in one line, for the end of a training's log."""
    or_patience = "" if run.training.validation.patience is None else " or training.validation.patience"
    if marked(finding):
        return (
            f"{run.folder}: {finding['state']} at its end ({finding['reason']}). It is marked {MARK} in tables and figures, "
            f"and its differences get no verdict; raise training.steps{or_patience}"
        )
    return f"{run.folder}: {finding['state']} ({finding['reason']})"
