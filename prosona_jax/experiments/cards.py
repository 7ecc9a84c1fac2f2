"""Style cards: for each rater its measured habits, and sentences that say them.

A card is a style of a prompt file. The habits come from the training records alone.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml

from data_pipelines import habits
from data_pipelines.habits import Habits
from prosona_jax import files
from prosona_jax.evaluation import rater_habits
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.rater_habits import Certainty
from prosona_jax.experiments import inputs, second_stages
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.text import prompts
from prosona_jax.text.habit_grammar import HabitGrammar
from prosona_jax.text.habits import AXES, Scale, Stated
from prosona_jax.text.prompts import Style, Written
from prosona_jax.types import InputError

MEASURED = "measured"  # value of config.prompts.path
FILE = "cards.yaml"
_RECORDS = 500  # about so many, on which habits are measured; more change them little
_SENTENCES = {"train": 40, "held_out": 12}  # of a rater
_HEADER = """\
# Style cards, measured on {objects} training {what} of {patients} patients. Each habit of a rater
# is a mean difference from the consensus of the other raters, with a 95 % interval over patients:
# margin and roughness in {unit}, area as log(ratio), tips as a share of the area, first and last
# slice in mm. Sentences say stable habits alone. Edit them as you like, and name this file in
# --config.prompts.path.
#
{facts}
"""


class Cards(NamedTuple):
    """What was measured, and what sentences say of it."""

    names: list[str]  # of the raters
    measured: Habits
    certain: dict[str, Certainty]  # by habit
    alike: list[tuple[int, int]]  # pairs of raters whom no stable habit tells apart
    groups: list[list[int]]  # raters who share a card; without merging, each has one alone
    written: Written

    @property
    def unknown(self) -> list[str]:
        """The raters whose habits could not be measured."""
        known = np.isfinite(self.measured.values["margin"]).any(axis=0)
        return [name for name, own in zip(self.names, known, strict=True) if not own]

    def facts(self) -> list[str]:
        """Returns what is to know about the habits, one line each."""
        lines = [
            f"{name}: stability {own.stability:.2f}"
            + ("" if own.stable else ", not stable, so no sentence says it")
            for name, own in self.certain.items()
        ]
        lines += [f"unknown: {name} outlined nothing that others did" for name in self.unknown]
        for a, b in self.alike:
            merged = any(a in group and b in group for group in self.groups)
            lines.append(
                f"alike: no habit tells {self.names[a]} from {self.names[b]}"
                + ("; they share a card" if merged else "")
            )
        return lines

    def caveats(self) -> list[str]:
        """Returns what a user must know before training with the cards."""
        found = []
        if not any(own.stable for own in self.certain.values()):
            found.append(
                "Raters draw inconsistently: from image to image, raters differ in no measured "
                "habit by more than chance. The order of the masks may not be that of the raters, "
                "or they draw alike; then set data.raters to 'by_area'."
            )
        if self.unknown:
            found.append(
                f"Raters unknown: {', '.join(self.unknown)} outlined no training image that others "
                "did. Their sentences ask for the usual outline, and nothing is known of their "
                "styles."
            )
        merged = [group for group in self.groups if len(group) > 1]
        if merged:
            names = "; ".join(" and ".join(self.names[r] for r in group) for group in merged)
            found.append(
                "Raters merged: no measured habit tells them apart, so they share one card and are "
                f"drawn alike ({names}). Scores that ask whom a style draws cannot tell them apart "
                "either."
            )
        elif self.alike:
            pairs = ", ".join(f"{self.names[a]} and {self.names[b]}" for a, b in self.alike[:5])
            more = f" and {len(self.alike) - 5} more" if self.alike[5:] else ""
            found.append(
                f"Raters drawn alike: of all pairs of raters, {len(self.alike)} cannot be told "
                f"apart by any measured habit ({pairs}{more}), so their styles will hardly differ."
            )
        return found


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers in one line."""

    def represent_list(self, data: list[object]) -> yaml.Node:
        """Returns the node of a list."""
        numbers = all(isinstance(each, float) for each in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=numbers)


_Dumper.add_representer(list, _Dumper.represent_list)


def wanted(config: Config) -> bool:
    """Returns whether a run measures its prompts."""
    return config.prompts.path == MEASURED and second_stages.of(config).reads_text


def written(config: Config, data: Data) -> Written | None:
    """Returns the content of measured cards, None if the prompts are not measured."""
    return measure(config, data).written if wanted(config) else None


def measure(config: Config, data: Data) -> Cards:
    """Returns the cards of the raters, from the training records.

    Raises:
        InputError: the masks are sorted by area, so no mask belongs to a rater; or there are fewer
            than two raters who draw on the same images.
    """
    if config.data.raters == "by_area":
        raise InputError(
            "config.prompts.path is 'measured', but config.data.raters is 'by_area': mask k is the "
            "k-th smallest and not a rater's, so there are no habits; set data.raters to 'stored' "
            "if the raters keep their order, or name a file such as configs/prompts/lidc.yaml"
        )
    chosen = spread_objects(data, "train", _RECORDS).tolist()
    measured = habits.measure(data.dataset[index] for index in chosen)
    names = data.dataset.rater_names or [f"rater {k}" for k in range(1, data.raters + 1)]
    return of_habits(measured, names, merge=config.prompts.merge)


def spread_objects(data: Data, split: str, most: int) -> np.ndarray:
    """Returns the indices of about so many records of a split, evenly spread.

    A volume is kept with all its slices.
    """
    indices = data.indices[split]
    names = np.array([data.dataset.volumes[n] or f"image {n}" for n in indices.tolist()])
    objects = np.unique(names)
    kept = max(1, most * len(objects) // max(len(indices), 1))
    return indices[np.isin(names, objects[inputs.spread(np.arange(len(objects)), kept)])]


def of_habits(measured: Habits, names: Sequence[str], *, merge: bool = False) -> Cards:
    """Returns the cards of measured habits; with `merge`, raters who are alike share one."""
    known = {name: values for name, values in measured.values.items() if np.isfinite(values).any()}
    if "margin" not in known:
        raise InputError(
            "no two raters outlined the same training image, so no habits can be measured; name a "
            "prompt file in prompts.path"
        )
    certain = {
        name: rater_habits.certainty(values, measured.patient_ids) for name, values in known.items()
    }
    stable = {name: known[name] for name, own in certain.items() if own.stable}
    alike = rater_habits.alike(stable or known, measured.patient_ids)
    scale = _scale(measured, certain)
    groups = rater_habits.groups(alike if merge else [], _places(certain, scale))
    for name, own in certain.items():
        merged = rater_habits.together(known[name], groups)
        certain[name] = own._replace(intervals=rater_habits.intervals(merged, measured.patient_ids))
    stated = [_stated(certain, group[0]) for group in groups]
    written = Written(_styles(names, groups, stated, scale), None, scale)
    cards = Cards(list(names), measured, certain, alike, groups, written)
    caveat = " ".join(cards.caveats()) or None
    return cards._replace(written=written._replace(caveat=caveat))


def sentence(measured: Habits, rater: int, scale: Scale, *, seed: int) -> str:
    """Returns one sentence on the habits of a rater who is new to a model.

    It says the habits of the model's scale whose interval excludes 0, with their means, or that the
    outline is usual.

    Args:
        measured: on a few images, with the other raters of these images.
        rater: whose column of the habits.
        scale: of the model's cards.
        seed: of the words.

    Raises:
        InputError: the habits are measured in another unit than the model's.
    """
    if measured.unit != scale.unit:
        raise InputError(
            f"habits are measured in {measured.unit}, and the model's sentences are in "
            f"{scale.unit}; give images of which the size of a pixel is "
            + ("known" if scale.unit == "mm" else "unknown")
        )
    said = {}
    for axis in scale.spread:
        (own,) = rater_habits.intervals(measured.values[axis][:, [rater]], measured.patient_ids)
        stated = _state(own, stable=True)
        if stated is not None and stated.differs:
            said[axis] = stated.value
    return HabitGrammar("train", seed).sentence(said or {"margin": 0.0}, scale)


def write(path: pathlib.Path, cards: Cards) -> None:
    """Writes the cards as a prompt file; InputError if it cannot be written."""
    patients, objects = len(set(cards.measured.patient_ids)), len(cards.measured.patient_ids)
    header = _HEADER.format(
        objects=objects,
        what="images" if not cards.measured.slice_mm else "volumes",
        patients=patients,
        unit=cards.measured.unit,
        facts="\n".join(f"#   {line}" for line in cards.facts()),
    )
    assert cards.written.scale is not None
    content = {
        **({"caveat": cards.written.caveat} if cards.written.caveat else {}),
        "scale": cards.written.scale.describe(),
        "styles": [_entry(style) for style in cards.written.styles],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        files.write_whole(path, f"{header}\n{text}".encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); choose another place") from None


def _scale(measured: Habits, certain: Mapping[str, Certainty]) -> Scale:
    """Returns the scale: the spread of the stable habits, and what a margin adds to the area."""
    spread = {
        axis: float(np.nanstd([own.mean for own in certain[axis].intervals]))
        for axis in AXES
        if axis in certain and (certain[axis].stable or axis == "margin")
    }
    margin, area = (measured.values[name].ravel() for name in ("margin", "area"))
    both = np.isfinite(margin + area)
    slope = float((margin * area)[both].sum() / (margin**2)[both].sum())
    return Scale(
        measured.unit,
        {axis: round(own, 5) or 1.0 for axis, own in spread.items()},
        round(max(slope, 1e-3), 5),
        round(measured.slice_mm, 4),
    )


def _places(certain: Mapping[str, Certainty], scale: Scale) -> np.ndarray:
    """Returns the raters' mean habits f64 [r, h] in spreads; 0 where one is not measured."""
    own = [[x.mean / scale.spread[axis] for x in certain[axis].intervals] for axis in scale.spread]
    return np.nan_to_num(np.array(own).T)


def _entry(style: Style) -> dict[str, Any]:
    """Returns a style as a file holds it, where shared sentences stand once."""
    return (
        {"name": style.name, "same_as": style.same_as} if style.same_as else prompts.describe(style)
    )


def _stated(certain: Mapping[str, Certainty], rater: int) -> dict[str, Stated]:
    """Returns the habits of a rater that were measured."""
    found = {name: _state(own.intervals[rater], stable=own.stable) for name, own in certain.items()}
    return {name: stated for name, stated in found.items() if stated is not None}


def _state(own: Interval, *, stable: bool) -> Stated | None:
    """Returns a habit; if it is not stable, or has no interval, it may be 0. None: not measured."""
    mean, low, high = own
    if not np.isfinite(mean):
        return None
    ends = [mean, *([0.0] if low is None or not stable else [])]
    ends += [end for end in (low, high) if end is not None]
    return Stated(*(round(float(x), 4) for x in (mean, min(ends), max(ends))))


def _styles(
    names: Sequence[str],
    groups: Sequence[Sequence[int]],
    stated: Sequence[Mapping[str, Stated]],
    scale: Scale,
) -> tuple[Style, ...]:
    """Returns the style of each rater; a sentence occurs in the styles of one group alone.

    The first rater of a group has the habits and the sentences, and the others refer to it.
    """
    taken: set[str] = set()
    said: dict[str, list[list[str]]] = {}
    for split, count in _SENTENCES.items():
        grammar = HabitGrammar(split, seed=0)
        said[split] = [
            grammar.write(" and ".join(names[r] for r in group), own, scale, count, taken)
            for group, own in zip(groups, stated, strict=True)
        ]
    found = {}
    for group, train, held_out, own in zip(
        groups, said["train"], said["held_out"], stated, strict=True
    ):
        first = Style(names[group[0]], tuple(train), tuple(held_out), None, own)
        found[group[0]] = first
        for r in group[1:]:
            found[r] = first._replace(name=names[r], same_as=first.name)
    return tuple(found[r] for r in range(len(names)))
