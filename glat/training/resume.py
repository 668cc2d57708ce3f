"""Where a training is resumed: `resume.ckpt` in its run's folder, and what must be the same for it to be used.

A resume point holds the network, the optimiser and all else that the next step depends on, three times the size of
checkpoint.pt, and with `training.select: best` the best network so far. It is written every `execution.checkpoint_every`
steps. At the end of a training it is removed where the weights follow the number of steps (`Training.extendable`), and kept
otherwise: with `training.steps` raised, the training then goes on as if it had never ended. Without it, that one starts anew;
nothing else needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import lightning
import torch

from ..config.runs import Run
from ..config.training import Execution
from ..data.packs.read import Packs
from ..lib import dependencies
from ..lib.errors import GlatError, refusal, warn
from ..lib.files import digest, to_disk
from ..lib.hardware import first_process
from ..models import architecture
from . import stage

# Facts of which the hash alone is known.
HASHED = (
    "code", "waveforms", "clips", "lengths", "labels", "classes", "init.global", "init.local", "init_classes.global",
    "init_classes.local", "validation clips", "teacher.distillation", "teacher.enhanced_labels",
)  # fmt: skip


def facts(run: Run, packs: Packs, execution: Execution, validation: Packs | None = None) -> dict[str, Any]:
    """All that the weights after a given step depend on, by name: settings, data, weights to start from, and code.

    Not among them: how the training is executed, but for what each batch norm is over; settings that are not in use; and
    the number of steps, unless the learning rate follows it.
    """
    training = run.training
    unused = {"sync_batchnorm"} | ({"steps"} if training.extendable else set())
    unused |= {"plateau"} if training.schedule != "plateau" else set()
    unused |= {"decay"} if training.schedule not in ("linear", "exponential") else set()
    unused |= {"freeze"} if run.glat is None else set()
    unused |= {"rise"} if not training.warmup else set()
    unused |= {"validation"} if training.select != "best" else set()
    apart = {"dataset", "name", "init", "init_classes", "packs", "validation_packs", "training"}
    settings = run.model_dump(exclude=apart)
    left_out: dict[str, Any] = dict.fromkeys(unused, True) | {name: {"teacher"} for name in training.teachers}
    settings["training"] = training.model_dump(exclude=left_out)
    teachers = {f"teacher.{name}": digest(teacher.file) for name, teacher in training.teachers.items()}
    parts = 1 if training.sync_batchnorm else execution.processes
    return _flat(settings) | {
        "clips of a batch norm": training.batch_size // (parts * training.accumulate),
        "code": dependencies.digest(stage.__name__, run.entry.module),
        **_of_packs(packs),
        "classes": _hash(*packs.classes["mid"]),
        **({"validation clips": _hash(*_of_packs(validation).values())} if validation else {}),
        **teachers,
        **{f"network.{Path(path).name}": digest(path) for path in architecture.weights(run.network)},
        **{f"init.{stream}": digest(path) for stream, path in run.init.items() if path},
        **{f"init_classes.{stream}": digest(path) for stream, path in run.init_classes.items()},
    }


def _of_packs(packs: Packs) -> dict[str, str]:
    return {
        "waveforms": _hash(*(_waveforms(str(shard["provenance"])) for shard in packs.attributes)),
        "clips": _hash(*packs.clips),
        **({"lengths": _hash(packs.length.tobytes())} if packs.longer else {}),
        "labels": _hash(packs.labels.indptr.tobytes(), packs.labels.indices.tobytes()),
    }


def _waveforms(provenance: str) -> str:
    """The hash of a pack's waveforms, from what it says of its making; all of that where there is no such hash."""
    try:
        return str(json.loads(provenance)["waveforms_blake2b"])
    except (ValueError, LookupError, TypeError):
        return provenance


def fingerprint(facts: dict[str, Any]) -> str:
    """The SHA-256 of facts."""
    return _hash(json.dumps(facts, sort_keys=True))


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Which facts differ, in words: a setting with both values, anything else by its name."""
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    found = [
        f"other {key}" if key in HASHED else f"{key} {old.get(key, 'absent')}, now {new.get(key, 'absent')}"
        for key in differing
    ]
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if found[4:] else "")


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _hash(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part if isinstance(part, bytes) else f"{part}\n".encode())
    return total.hexdigest()


class ResumePoint(lightning.Callback):
    """Writes the resume point, whole, every `every` steps, and after the last step if it is to be kept.

    path: resume.ckpt. facts: those of this training. steps: how many it has.
    """

    def __init__(self, path: Path, facts: dict[str, Any], steps: int, every: int, keep: bool):
        self.path, self.facts, self.steps, self.every, self.keep = path, facts, steps, every, keep

    def step(self) -> int:
        """The step to resume at; 0 to start anew. A resume point that cannot be used is set aside under another name."""
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return 0
        except Exception as error:
            if reason := refusal(error):
                raise GlatError(f"{self.path}: {reason}") from None
            return self._set_aside("damaged", f"damaged ({type(error).__name__})")
        old = content.get("glat_facts") if isinstance(content, dict) else None
        if not isinstance(old, dict):
            return self._set_aside("unknown", "of another version of glat")
        step = int(content["global_step"])
        name = f"step{step}-{fingerprint(old)[:8]}"
        if old != self.facts:
            return self._set_aside(name, f"made with {differences(old, self.facts)}")
        if step > self.steps:
            return self._set_aside(name, f"made at step {step}, after the last of {self.steps}")
        return step

    def _set_aside(self, name: str, why: str) -> int:
        aside = self.path.with_name(f"resume.{name}.ckpt")
        if first_process():
            os.replace(self.path, aside)
            warn(f"{self.path}: {why}; set aside as {aside.name}, and training from the start")
        return 0

    def on_save_checkpoint(self, trainer, stage, checkpoint) -> None:
        checkpoint["glat_facts"] = self.facts

    def on_train_batch_end(self, trainer, stage, *_) -> None:
        step = trainer.global_step
        last = step == self.steps or trainer.should_stop
        if not (self.keep if last else step % self.every == 0):
            return
        part = self.path.with_name(f".{self.path.name}.part")
        trainer.save_checkpoint(part, weights_only=False)
        if trainer.is_global_zero:
            to_disk(part)  # or a machine that loses its power may keep neither this point nor the last one
            os.replace(part, self.path)
            to_disk(self.path.parent)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
