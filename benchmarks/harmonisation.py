"""What a common window of a volume's slices does, on an institution that no training saw.

    python -m benchmarks.harmonisation --workdir=runs/harmonisation

The phantom is windowed at the percentiles of the whole volume, and at those of each slice alone.
The first table is measured on the windowed images, which span -1..1: the median within all
observers' contours, its standard deviation between the slices of a volume (mean over volumes) and
between the institutions (of their means), without the slices at the ends. With --steps above 0, a
small network of stage one is trained on four institutions and scored on the fifth, for each
institution in turn.
"""

import argparse
import json
import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np

from benchmarks.common import hardware
from configs import prostate
from data_pipelines import finishing, phantom, prepared, runners
from data_pipelines.fingerprint import Tally
from data_pipelines.prepared import Dataset
from data_pipelines.settings import Settings
from data_pipelines.sources import npz
from data_pipelines.sources import phantom as source
from prosona_jax.experiments import runs

WINDOWS = ("volume", "slice")
FEWEST_PX = 100  # within all observers' contours, in a slice that is measured
METRICS = ("ged", "dice_soft")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=300, help="of stage one; 0: no training")
    parser.add_argument("--sites", nargs="+", default=[site.name for site in phantom.SITES])
    flags = parser.parse_args()
    flags.workdir.mkdir(parents=True, exist_ok=True)
    files = write(flags.workdir)
    print(f"{hardware()}; the phantom\n")
    print(f"{'window of':<10} {'within volumes':>14} {'between sites':>14}")
    for name, file in files.items():
        dataset = prepared.prepare(Settings.from_config(config(file).data), str(flags.workdir))
        within, between = spread(dataset)
        print(f"{name:<10} {within:14.3f} {between:14.3f}")
    if flags.steps:
        print(f"\n{'tested on':<16} {'window of':<10}" + "".join(f"{m:>11}" for m in METRICS))
        for site in flags.sites:
            for name, file in files.items():
                found = score(file, site, flags.steps, flags.workdir / f"{site} {name}")
                print(f"{site:<16} {name:<10}" + "".join(f"{value:11.3f}" for value in found))


def write(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Writes the phantom's slices as two npz files that differ only in their windows."""
    c = prostate.get_config().data
    c.size, c.spacing_mm, c.slices_beyond = 48, 1.7, 0
    settings = Settings.from_config(c)
    records = list(finishing.records(settings, Tally(), runners.one_by_one, windowed=False))
    files = {name: folder / f"{name}.npz" for name in WINDOWS}
    for name, file in files.items():
        own = records if name == "volume" else [r._replace(window=None) for r in records]
        npz.write(file, own, source.CITATION, simulated=True)
    return files


def config(file: pathlib.Path) -> ml_collections.ConfigDict:
    """Returns the config of a small network of stage one on such a file."""
    c = prostate.get_config()
    c.data.update({"source": "npz", "path": str(file), "size": 48, "spacing_mm": 0.0})
    c.data.slices_beyond = 0
    c.data.cache_dir = str(file.parent)
    c.model.channels = (8, 16, 32)
    c.stage_two.update({"query": "none", "latent": 0.0, "visual": 0.0})
    c.evaluate.panels = 0
    return c


def spread(dataset: Dataset) -> tuple[float, float]:
    """Returns the deviation of the prostate's median within volumes, and between institutions."""
    found: dict[str, list[float]] = {}
    site_of = dict(zip(dataset.volumes, dataset.sites, strict=True))
    for record in (dataset[index] for index in range(len(dataset))):
        inside = record.masks[record.rater_valid].all(axis=0)
        if inside.sum() >= FEWEST_PX:
            found.setdefault(record.volume, []).append(float(np.median(record.image[inside])))
    within = np.mean([np.std(medians) for medians in found.values()])
    return float(within), float(np.std(_means(found, site_of)))


def _means(found: dict[str, list[float]], site_of: dict[str, str]) -> Sequence[float]:
    return [
        float(np.mean([np.mean(m) for volume, m in found.items() if site_of[volume] == site]))
        for site in sorted(set(site_of.values()))
    ]


def score(file: pathlib.Path, site: str, steps: int, workdir: pathlib.Path) -> list[float]:
    """Trains on the other institutions; returns the scores `METRICS` on this one."""
    c = config(file)
    c.data.test_site = site
    c.steps = steps
    c.evaluate.every_steps = c.checkpoint_every_steps = max(1, steps // 2)
    runs.train(c, workdir)
    report = json.loads((workdir / "report" / "report.json").read_text())
    return [report["metrics"][name]["mean"] for name in METRICS]


if __name__ == "__main__":
    main()
