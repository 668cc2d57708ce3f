"""Which runs the ladder needs: recipes of training, one on top of the other, then GL-AT and its variants on top of all."""

from __future__ import annotations

from typing import NamedTuple

from ..lib.errors import GlatError
from .controls import EQUAL_COMPUTE, equal_compute_steps, variant, with_glat
from .params import Params
from .systems import System, system

PLAIN = "as params.yaml has it"


class Rung(NamedTuple):
    """One row of the ladder: its part, a name, its runs, and the names of the rows of the same backbone that it is compared
    with: the one below it, and of GL-AT and its variants, the backbone alone with as much compute."""

    part: str  # recipe, method, or another backbone
    name: str
    system: System
    below: str = ""
    equal: str = ""


def ladder(params: Params) -> list[Rung]:
    """The backbone of `params.ladder` as params.yaml trains it and with one rung more at a time; with all of them, the backbone
    alone for as many steps as cost GL-AT's multiply-adds, GL-AT, and its variants; and other backbones with the lowest and
    the highest recipe. Empty without rungs.

    Raises:
        GlatError: a variant that there is none of, or the ladder's own backbone beside it.
    """
    choice = params.ladder
    if choice.backbone in choice.beside:
        raise GlatError(f"ladder.beside: {choice.backbone} is ladder.backbone; name others")
    if not choice.rungs:
        return []
    backbone, seeds, top = choice.backbone, choice.seeds or params.seeds, list(choice.rungs)[-1]
    rows, below = [Rung("recipe", PLAIN, system(params, backbone, None, seeds))], PLAIN
    for name in choice.rungs:
        rows.append(Rung("recipe", f"+ {name}", system(params, backbone, None, seeds, rung=name), below))
        below = f"+ {name}"
    best, equal = rows[-1].system, dict[int, str]()
    for name in ("GL-AT", *choice.variants):
        method = params.glat if name == "GL-AT" else variant(params, name, "ladder.variants")
        steps = equal_compute_steps(params, backbone, method, top)
        if steps == best.runs[0].training.steps:
            equal[steps] = below
        elif steps not in equal:
            equal[steps] = f"{EQUAL_COMPUTE}, {steps} steps"
            alone = system(params, backbone, None, seeds, rung=top, steps=steps)
            rows.append(Rung("method", equal[steps], alone, below))
        rows.append(Rung("method", name, with_glat(params, best, dict(method), top), below, equal[steps]))
    for other, steps in choice.beside.items():
        plain, full = (system(params, other, None, seeds, rung=rung, steps=steps) for rung in (None, top))
        rows += [Rung("another backbone", PLAIN, plain), Rung("another backbone", below, full, PLAIN)]
    return rows
