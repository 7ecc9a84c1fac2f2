"""Describes a folder in lines of text, and writes a config that reads it."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from data_pipelines.layouts.finding import Found
from data_pipelines.layouts.identity import FEWEST, Identity, identity
from data_pipelines.layouts.survey import Survey

_MOST_RATERS = 3  # whose cases are listed by name
_MOST_CASES = 5
_MARGIN = 4  # pixels around what is drawn
_MULTIPLE = 16  # the network halves its input four times at most
_CONFIG = '''"""Both stages on {folder}: {cases} cases, {raters} raters.

Written by data_pipelines.inspect; change what you like. configs/base.py explains every field.

    python -m prosona_jax.main --config={file} --workdir=runs/{name}
"""

import ml_collections

from configs import folder


def get_config() -> ml_collections.ConfigDict:
    """Returns the config."""
    c = folder.get_config()
    with c.unlocked():
        c.data.path = {path!r}
{lines}
    c.lock()
    return c
'''


def lines(found: Found, survey: Survey) -> list[str]:
    """Returns the numbers of a folder, a line each."""
    cases = found.cases
    patients = len({case.patient_id for case in cases})
    sites = sorted({case.site for case in cases} - {""})
    splits = sorted({case.split for case in cases} - {""})
    dice = np.array(survey.dice)
    agreed = "no pair of raters"
    if np.isfinite(dice).any():
        agreed = f"{np.nanmean(dice):.3f} (mean of the cases)"
    seen = "unknown"
    if survey.intensities:
        low, median, high, _ = np.median(list(survey.intensities.values()), axis=0)
        seen = f"{low:.4g} / {median:.4g} / {high:.4g} (0.1 / 50 / 99.9 %, median of the cases)"
    found_lines = {
        "images": found.layout.images,
        "masks": found.layout.masks,
        "channels": _channels(found, survey),
        "cases": f"{len(cases)} of {patients} patients",
        "sites": ", ".join(sites) or "unknown",
        "splits": ", ".join(splits) or "none declared",
        "raters": f"{len(found.raters)}: {', '.join(found.raters)}",
        "sizes": _span(survey.sizes, "{:g}") + " (slices x rows x columns)",
        "voxels": _spacing(survey.spacings),
        "unit": ", ".join(survey.units) or "not stated",
        "intensities": seen,
        "inter-rater Dice": agreed,
    }
    return [f"{name:<17} {text}" for name, text in found_lines.items()]


def _channels(found: Found, survey: Survey) -> str:
    """Returns the channels of an image in words."""
    of = "each in a file" if found.layout.separate else "in each file"
    if found.layout.channels:
        return f"{', '.join(found.layout.channels)}, {of}"
    several = sorted(survey.channels)
    return "one" if several in ([], [1]) else f"{' or '.join(map(str, several))} {of}"


def rater_lines(found: Found, survey: Survey) -> list[str]:
    """Returns a line for each rater: cases read, mean area, and area relative to the others."""
    if not survey.areas:
        return []
    areas, named = np.stack(survey.areas), identity(np.stack(survey.areas))
    known = not any(math.isnan(size) for spacing in survey.spacings for size in spacing[1:])
    unit = "mm2" if known else "px"
    width = max(map(len, (*found.raters, "rater")))
    result = [f"{'rater':<{width}}  cases  mean area, {unit:<3}  relative area  spread"]
    for k, rater in enumerate(found.raters):
        own = areas[~np.isnan(areas[:, k]), k]
        mean = f"{own.mean():13.5g}" if len(own) else f"{'-':>13}"
        result.append(
            f"{rater:<{width}}  {len(own):5d}  {mean}  {_number(named.mean[k]):>13}"
            f"  {_number(named.spread[k]):>6}"
        )
    result += _who_read_what(found)
    return [*result, identity_line(named)]


def _who_read_what(found: Found) -> list[str]:
    """Returns which cases some raters have not read."""
    missing = {
        rater: [case.id for case in found.cases if rater not in case.masks]
        for rater in found.raters
    }
    some = {rater: cases for rater, cases in missing.items() if cases}
    if not some:
        return ["every rater read every case"]
    return [
        f"{rater} did not read {len(cases)}: {', '.join(cases[:_MOST_CASES])}"
        + (", ..." if len(cases) > _MOST_CASES else "")
        for rater, cases in some.items()
    ]


def is_anonymous(survey: Survey) -> bool:
    """Returns whether it looks as if the names of raters carry no identity."""
    return bool(survey.areas) and identity(np.stack(survey.areas)).is_doubtful


def identity_line(named: Identity) -> str:
    """Returns in words whether raters named alike draw alike."""
    if math.isnan(named.chance):
        return (
            f"names: {named.cases} cases with two raters are too few to tell whether raters of one "
            f"name draw alike; at least {FEWEST} are needed"
        )
    measured = (
        f"names explain {named.share:.1%} of how the areas of a case differ (shuffled names: p = "
        f"{named.chance:.3f})"
    )
    if named.is_doubtful:
        return (
            f"warning: names may carry no identity: {measured}; if the raters are anonymous, set "
            'data.raters="by_area"'
        )
    return f"names: raters of one name draw alike: {measured}"


def config(
    found: Found,
    *,
    layout: str,
    labels: Sequence[int],
    unit: str,
    guessed: bool,
    anonymous: bool,
    survey: Survey,
    file: str,
) -> str:
    """Returns a config that reads the folder, as Python.

    Args:
        found: the folder.
        layout: name of the known layout, "" if there is none.
        labels: values of the masks that are the object.
        unit: unit that the files do not state; "": they do.
        guessed: whether the unit was guessed from the values.
        anonymous: whether names seem to carry no identity.
        survey: the numbers of the folder, for the size of the model's input.
        file: path of the config, for its docstring.
    """
    fields: list[tuple[str, object, str]] = [
        ("images", found.layout.images, ""),
        ("masks", found.layout.masks, f"raters, in this order: {', '.join(found.raters)}"),
        ("channels", tuple(found.layout.channels), ""),
        ("label", tuple(labels), "values of the masks that are the object; (): all above 0"),
        ("unit", unit, "guessed from the values: check it" if guessed else ""),
    ]
    if survey.sizes:
        largest = max(max(size[1:]) for size in survey.sizes)
        size = -(-min(2 * (survey.reach + _MARGIN), largest) // _MULTIPLE) * _MULTIPLE
        reached = f"what is drawn reaches {survey.reach} pixels from the middle"
        fields.append(("size", size, reached))
    if any(case.split for case in found.cases):
        fields.append(("folds", 0, "cases.csv declares the splits"))
    written = [f"        # the layout {layout!r}"] if layout else []
    for name, value, comment in fields:
        if value in ("", ()) and name != "label":
            continue
        written += textwrap.wrap(
            comment, 92, initial_indent="        # ", subsequent_indent="        # "
        )
        written += [f"        c.data.{name} = {value!r}"]
    if anonymous:
        written += [
            "        # names seem to carry no identity: mask k is the k-th smallest, and style k",
            "        # needs sentences of yours, see docs/prompts.md",
            "        c.data.raters = 'by_area'",
            "        c.prompts.path = 'prompts.yaml'",
            "        c.stage_two.query = 'text'",
        ]
    return _CONFIG.format(
        folder=found.root.name,
        cases=len(found.cases),
        raters=len(found.raters),
        file=file,
        name=found.root.name,
        path=str(found.root),
        lines="\n".join(written),
    )


def _span(sizes: set[tuple], form: str) -> str:
    """Returns the lowest and highest size along each axis in words."""
    if not sizes:
        return "unknown"
    axes = list(zip(*sizes, strict=True))
    ends = [" x ".join(form.format(bound(axis)) for axis in axes) for bound in (min, max)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _spacing(sizes: set[tuple]) -> str:
    """Returns the sizes of voxels in words; a slice has a thickness only in 3-D."""
    known = {size for size in sizes if not any(map(math.isnan, size[1:]))}
    if not known:
        return "unknown"
    some = f", unknown in {len(sizes - known)} kinds of cases" if sizes - known else ""
    return f"{_span(known, '{:.4g}').replace('nan x ', '')} mm{some}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
