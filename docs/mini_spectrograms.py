"""Draw the spectrograms of docs/mini.md: `python docs/mini_spectrograms.py`."""

from pathlib import Path

import librosa
import matplotlib
import numpy as np
import yaml
from PIL import Image

from glat.data.sources import synthetic
from glat.data.sources.registry import open_source
from glat.data.sources.synthetic.sounds import SOUNDS
from glat.data.sources.synthetic.waves import RATE, log_uniform

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "mini"
HOP = 512  # samples
TICKS = (100, 300, 1000, 3000, 10_000)


def draw(axes: plt.Axes, audio: np.ndarray) -> None:
    """The spectrogram of mono audio, 60 dB of it, on a logarithmic frequency axis."""
    power = np.square(np.abs(librosa.stft(audio, n_fft=2048, hop_length=HOP)))
    decibels = librosa.power_to_db(power, top_db=None)
    shown = {"vmin": (top := np.percentile(decibels, 99.8)) - 60, "vmax": top, "cmap": "magma"}
    librosa.display.specshow(decibels, sr=RATE, hop_length=HOP, x_axis="s", y_axis="log", ax=axes, **shown)
    axes.set(xlabel=None, ylabel=None, ylim=(50, 18_000))
    axes.set_yticks(TICKS, [f"{tick / 1000:g}" for tick in TICKS])
    axes.minorticks_off()


def save(figure: plt.Figure, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)
    plt.close(figure)


def classes() -> None:
    """One instance of each class, alone; the longer ones cut at 3 s."""
    figure, grid = plt.subplots(4, 4, figsize=(12, 9), dpi=75, layout="constrained")
    for number, (axes, sound) in enumerate(zip(grid.flat, sorted(SOUNDS, key=lambda sound: sound.rank), strict=True)):
        rng = np.random.default_rng(number)
        samples = int(log_uniform(rng, *sound.seconds) * RATE)
        audio = sound.make(rng, samples)[: 3 * RATE]
        padding = np.zeros(int(0.15 * RATE), np.float32)
        audio = np.concatenate([padding, audio / np.abs(audio).max(), padding])
        draw(axes, audio + 1e-5 * rng.standard_normal(len(audio)))
        axes.set_title(f"{sound.rank}. {sound.name}, {samples / RATE:.2f} s", fontsize=10)
    figure.supxlabel("time (s)")
    figure.supylabel("frequency (kHz)")
    save(figure, "classes.png")


def clips(indices: tuple[int, ...]) -> None:
    """Some clips of mini's training split, as params.yaml describes it, with the events that the strong labels give."""
    mini = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]["mini"]
    settings = open_source(mini["source"], "mini")
    names = {sound.mid: sound.name for sound in SOUNDS}
    labels = synthetic.draw_labels("train", mini["splits"]["train"], settings)
    for picture, index in enumerate(indices, start=1):
        clip = ("train", index, labels[index], synthetic.CLIP_SECONDS, settings)
        audio, events = synthetic.render(*clip), synthetic.draw_events(*clip)
        heights = [3, 0.28 * len(events)]
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(10, 3.2 + heights[1]), height_ratios=heights, sharex=True, dpi=75, layout="constrained"
        )
        draw(above, audio.mean(axis=0))
        above.set_title(f"{synthetic.youtube_id(settings.seed, 'train', index)}, clip {index} of train", fontsize=10)
        above.set_ylabel("frequency (kHz)")
        for row, event in enumerate(events):
            # A click of 20 ms would be thinner than a pixel.
            below.barh(row, max(event.end - event.start, 0.03), left=event.start, color="black", height=0.6)
            for edge in (event.start, event.end):
                above.axvline(edge, color="white", linewidth=0.6, linestyle=":")
        below.set_yticks(range(len(events)), [names[event.mid] for event in events])
        below.invert_yaxis()
        below.set_xlim(0, synthetic.CLIP_SECONDS)
        below.set_xlabel("time (s)")
        save(figure, f"clip{picture}.png")


if __name__ == "__main__":
    classes()
    clips((1, 3, 9, 12))
