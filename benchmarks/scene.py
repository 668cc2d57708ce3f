"""A longer recording with known sounds, for docs/localisation.md: one of each class of a fold of ESC-10, at times that no clip
begins at, with pauses of 1 to 4 s between them, in faint noise. Prints what sounds from when to when, and in which file.

    python -m benchmarks.scene ESC-50 scene.flac [--fold 5] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

SILENCE, NOISE = 1e-4, 0.003  # the recordings are padded to 5 s; full scale is 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("esc50", type=Path, help="the folder with audio/ and meta/esc50.csv")
    parser.add_argument("out", type=Path)
    parser.add_argument("--fold", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = pd.read_csv(options.esc50 / "meta/esc50.csv").query("esc10 and fold == @options.fold")
    random, parts, at, rate = np.random.default_rng(options.seed), [], 0, 44100
    for row in table.drop_duplicates("category").sort_values("target").itertuples():
        sound, rate = soundfile.read(options.esc50 / "audio" / row.filename)
        heard = np.flatnonzero(np.abs(sound) > SILENCE)
        sound = sound[heard[0] : heard[-1] + 1]
        pause = np.zeros(round(random.uniform(1, 4) * rate))
        parts += [pause, sound]
        begin, at = at + len(pause), at + len(pause) + len(sound)
        print(f"{begin / rate:.1f}\t{at / rate:.1f}\t{row.category}\t{row.filename}")
    scene = np.concatenate(parts)
    scene += random.normal(0, NOISE, len(scene))
    soundfile.write(options.out, scene.clip(-1, 1), rate)


if __name__ == "__main__":
    main()
