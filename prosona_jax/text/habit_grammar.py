"""Writes sentences that state habits of a rater, in several voices (configs/prompts/habits.yaml).

Training and held-out sentences come from different voices, so they share no phrase.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prosona_jax.text import degrees
from prosona_jax.text.habits import AXES, Scale, Stated

SPLITS = ("train", "held_out")
CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
_VOICES = CONFIGS / "prompts" / "habits.yaml"
_LEVELS = (0.5, 1.1, 1.9)  # |habit| in spreads from which the next strength is said
# Shares: below, a sentence says all that differs; up to the second, the largest alone.
_ALL, _ONE = 0.6, 0.85
_TRIES = 40  # for each sentence; a rater who differs in nothing has few different ones
_WORDS = {0.5: "half a", 1.0: "one", 1.5: "one and a half", 2.0: "two", 3.0: "three", 4.0: "four"}
_LONG = {"px": ("pixel", "pixels"), "mm": ("millimetre", "millimetres"), "slices": ("slice",) * 2}


class HabitGrammar:
    """Writes sentences of one split.

    Args:
        split: "train" or "held_out".
        seed: of the choices.
    """

    def __init__(self, split: str, seed: int) -> None:
        content = degrees.read_yaml(_VOICES)
        self._strengths: dict[str, list[list[str]]] = content["strengths"]
        self._voices = [voice for voice in content["voices"] if voice["split"] == split]
        self._rng = np.random.default_rng([seed, SPLITS.index(split)])

    def write(
        self, name: str, habits: Mapping[str, Stated], scale: Scale, count: int, taken: set[str]
    ) -> list[str]:
        """Returns at most `count` different sentences on the habits of one rater.

        A sentence says the habits that differ from 0, or the largest of them alone, or another
        one too as usual. If none differs, it says that some are usual, and of a rater without
        habits that the outline is. The numbers are drawn
        between the ends of the interval, mostly near the value. Where raters are so alike that
        their sentences are the same, the later rater's begin with the name.

        Args:
            name: of the rater.
            habits: by name, those of the scale's axes and "area".
            scale: the axes that may be said, and their units.
            count: the number of sentences.
            taken: sentences that exist already; the new ones are added.
        """
        found: list[str] = []
        for number in range(2 * _TRIES * count):
            if len(found) == count:
                break
            text = self.sentence(self._drawn(habits, scale), scale)
            if number >= _TRIES * count:
                text = f"{name}: {text}"
            if (key := text.lower().rstrip(".!?")) not in taken:
                taken.add(key)
                found.append(text)
        return found

    def sentence(self, said: Mapping[str, float], scale: Scale) -> str:
        """Returns a sentence that says these habits, by name and in their order; 0 is usual.

        "area" may stand for "margin".
        """
        voice = self._pick(self._voices)
        parts = [self._phrase(voice, name, value, scale) for name, value in said.items()]
        text = parts[0]
        for part in parts[1:]:
            text += self._pick(voice["joins"]) + part
        text = self._pick(voice["whole"]).format(text)
        return text[0].upper() + text[1:]

    def _drawn(self, habits: Mapping[str, Stated], scale: Scale) -> dict[str, float]:
        """Returns what a sentence says: the names and the numbers."""
        rng = self._rng
        axes = [axis for axis in scale.spread if axis in habits]
        differing = [axis for axis in axes if habits[axis].differs]
        differing.sort(key=lambda axis: -abs(habits[axis].value) / scale.spread[axis])
        usual = [axis for axis in axes if axis not in differing]
        rng.shuffle(usual)
        kind, more = rng.random(), int(rng.integers(1, 3))
        if not differing:
            chosen = usual[:more] or ["margin"]
        elif kind < _ALL or (kind >= _ONE and not usual):
            chosen = differing
        else:
            chosen = differing[:1] if kind < _ONE else [*differing, usual[0]]
        said = {}
        for axis in chosen:
            name = axis
            if axis == "margin" and "area" in habits and rng.random() < 0.3:
                name = "area"
            said[name] = _triangular(rng, habits[name]) if axis in differing else 0.0
        return said

    def _phrase(self, voice: Mapping[str, Any], name: str, value: float, scale: Scale) -> str:
        """Returns what a voice says of one habit."""
        is_area = name == "area"
        axis = "margin" if is_area else name
        side = "usual" if not value else "more" if value > 0 else "less"
        options: Sequence[str] = voice[axis][side]
        if is_area and value:
            options = [option for option in options if "{percent}" in option]
        elif axis == "margin":
            options = [option for option in options if "{percent}" not in option]
        spread = scale.spread[axis] * (scale.area_per_margin if is_area else 1.0)
        level = int(np.searchsorted(_LEVELS, abs(value) / spread, side="right"))
        how, very = (self._pick(self._strengths[kind][level]) for kind in ("how", "very"))
        return self._pick(options).format(
            length=self._length(abs(value), scale.unit),
            percent=f"{100 * abs(np.expm1(value)):.0f}" + self._pick([" %", "%", " percent"]),
            slices=self._slices(abs(value), scale),
            how=how,
            very=very,
        )

    def _length(self, value: float, unit: str) -> str:
        """Returns such as "about 1.5 px" or "one and a half pixels"."""
        rounded = float(f"{value:.1f}") if value >= 0.1 else float(f"{value:.1g}")
        half = round(2 * value) / 2
        if half in _WORDS and self._rng.random() < 0.25:
            return f"about {_WORDS[half]} {_LONG[unit][half > 1]}"
        return self._pick(["", "about ", "roughly "]) + f"{rounded:g} {unit}"

    def _slices(self, mm: float, scale: Scale) -> str:
        """Returns such as "2 slices", or "3 mm" where it is no whole number of slices."""
        number = mm / scale.slice_mm if scale.slice_mm else 0.0
        if number < 0.75 or self._rng.random() < 0.3:
            return self._length(mm, "mm")
        whole = round(number)
        said = _WORDS.get(whole, str(whole)) if self._rng.random() < 0.5 else str(whole)
        return f"{said} slice{'s' * (whole > 1)}"

    def _pick(self, options: Sequence[Any]) -> Any:
        return options[int(self._rng.integers(len(options)))]


def phrases() -> dict[str, set[str]]:
    """Returns the phrases and frames of each split of the YAML file."""
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for voice in degrees.read_yaml(_VOICES)["voices"]:
        found[voice["split"]].update(voice["whole"])
        for axis in AXES:
            found[voice["split"]].update(*voice[axis].values())
    return found


def _triangular(rng: np.random.Generator, own: Stated) -> float:
    """Draws a number of the interval, most often the value, on the value's side of 0."""
    drawn = float(rng.triangular(own.low, own.value, own.high)) if own.high > own.low else own.value
    return drawn if drawn * own.value > 0 else own.value
