"""Whether the measured habits of the phantom's observers agree with the true ones.

    python -m benchmarks.phantom_habits --seeds 0 1 2 --cases 5 10 20 30

For each habit and number of cases: the share of pairs of observers in the true order, and the share
of observers with the true sign against the others, over all seeds. Pairs and observers for whom the
truth is equal do not count. The margin is that of the table of observers, the roughness falls with
the scale of detail that an observer leaves out, and the first and the last slice follow from the
slices and the seminal vesicles that an observer adds.
"""

import argparse
import collections
import itertools
from collections.abc import Iterator

import numpy as np

from configs import prostate
from data_pipelines import habits, phantom, transforms, volumes
from data_pipelines.habits import Habits
from data_pipelines.phantom import OBSERVERS
from data_pipelines.phantom.anatomy import VESICLES_MM
from data_pipelines.settings import Settings
from data_pipelines.sources import phantom as source
from prosona_jax.types import Record

_SLICE_MM = 3.5  # about; only the order and the sign of the truth count
TRUTH = {
    "margin": [each.margin_mm for each in OBSERVERS],
    "roughness": [-each.smooth_mm for each in OBSERVERS],
    "first": [each.apex_slices * _SLICE_MM for each in OBSERVERS],
    "last": [VESICLES_MM if each.vesicles else each.base_slices * _SLICE_MM for each in OBSERVERS],
}


def records(seed: int, cases: int) -> Iterator[Record]:
    """Yields the slices of the first cases, as `configs/prostate.py` prepares them."""
    settings = Settings.from_config(prostate.get_config().data)
    for index in range(cases):
        volume = source.volume(phantom.case(index, seed))
        for record in volumes.slices(volume, settings, collections.Counter()):
            yield transforms.fit(record, settings, background=np.float32(0))[0]


def agreement(found: np.ndarray, truth: np.ndarray) -> tuple[list[bool], list[bool]]:
    """Returns which pairs f64 [R], [R] are in the true order, and which signs are the true ones.

    The sign is that against the median of the others.
    """
    order = [
        (found[i] < found[j]) == (truth[i] < truth[j])
        for i, j in itertools.combinations(range(len(truth)), 2)
        if truth[i] != truth[j]
    ]
    against = [truth[k] - np.median(np.delete(truth, k)) for k in range(len(truth))]
    sign = [np.sign(found[k]) == np.sign(a) for k, a in enumerate(against) if a]
    return order, sign


def means(measured: Habits, habit: str, cases: int) -> np.ndarray:
    """Returns the mean habit of each observer over the first cases, f64 [R]."""
    return np.nanmean(measured.values[habit][:cases], axis=0)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cases", type=int, nargs="+", default=[5, 10, 20, 30])
    asked = parser.parse_args()
    of_seed = [habits.measure(records(seed, max(asked.cases))) for seed in asked.seeds]
    print("| habit | cases | pairs in the true order | true signs | means of seed "
          f"{asked.seeds[0]} |\n|---|---|---|---|---|")  # fmt: skip
    for habit, truth in TRUTH.items():
        for cases in asked.cases:
            found = [means(measured, habit, cases) for measured in of_seed]
            both = [agreement(each, np.array(truth, float)) for each in found]
            order, sign = (list(itertools.chain(*part)) for part in zip(*both, strict=True))
            shown = " ".join(f"{x:+.2f}" for x in found[0])
            print(f"| {habit} | {cases} | {sum(order)} of {len(order)} | "
                  f"{sum(sign)} of {len(sign)} | {shown} |")  # fmt: skip


if __name__ == "__main__":
    main()
