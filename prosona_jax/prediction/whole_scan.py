"""Draws what is asked at one point of a scan, or at the points of a list, and writes the files."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import tqdm

from data_pipelines import scans
from data_pipelines.scans import Scan, worklist
from prosona_jax.prediction import records, scan_saving
from prosona_jax.prediction.model import Model
from prosona_jax.prediction.request import Request
from prosona_jax.types import InputError

_LOG = logging.getLogger("prosona_jax.predict")


class Job(NamedTuple):
    """What is the same for all scans."""

    model: Model
    request: Request
    frame: str  # of the points, one of `scans.FRAMES`
    options: Mapping[str, Any]  # of `scans.read`

    def draw(self, scan: Scan, point: str, folder: pathlib.Path) -> dict[str, Any]:
        """Draws at a point, writes all files, and returns the record."""
        drawn = self.request.draw_scan(self.model, scan, scans.locate(scan, point, self.frame))
        return scan_saving.save(drawn, scan, folder, request=self.asked(point))

    def asked(self, point: str) -> dict[str, Any]:
        """Returns what is asked at a point, ready for JSON."""
        plain = {name: list(x) if isinstance(x, tuple) else x for name, x in self.options.items()}
        return self.request.described() | {"point": point, "point_in": self.frame} | plain

    def is_done(self, path: pathlib.Path, point: str, folder: pathlib.Path) -> bool:
        """Returns whether a folder holds all files of the same request to the same model."""
        wanted = self.model.source | {"image": str(path), "request": self.asked(point)}
        return any(
            all(record.get(name) == value for name, value in wanted.items())
            and all((folder / name).is_file() for name in record["files"])
            for record in records.read(folder).values()
        )


def draw_one(job: Job, path: str, point: str, folder: str) -> dict[str, Any]:
    """Draws at one point of one scan; returns the record."""
    return job.draw(scans.read(path, **job.options), point, pathlib.Path(folder).expanduser())


def draw_all(job: Job, path: str, points: str, folder: str) -> None:
    """Draws at all points of a list, each into the folder CASE/lesion_NUMBER.

    One scan at a time is open. What an earlier call has drawn is skipped, if it asked the same.

    Args:
        job: what to draw.
        path: the folder of the cases.
        points: the list; see `worklist`.
        folder: the folder of the folders.

    Raises:
        InputError: the list is faulty; or, after all others were drawn, a point failed.
    """
    cases = worklist.read(points, job.frame)
    output = pathlib.Path(folder).expanduser()
    failed = skipped = 0
    with tqdm.tqdm(total=sum(map(len, cases.values())), unit=" points", disable=None) as bar:
        for case, own in cases.items():
            own_folder = output / worklist.folder_name(case)
            scan: Scan | None = None
            for number, point in enumerate(own, start=1):
                into = own_folder / f"lesion_{number}"
                bar.clear()  # before a line is logged
                try:
                    found = worklist.find(path, case)
                    if job.is_done(found, point, into):
                        skipped += 1
                    else:
                        scan = scan or scans.read(found, **job.options)
                        _LOG.info("%s: %s", into, _in_words(job.draw(scan, point, into)))
                except InputError as fault:
                    failed += 1
                    _LOG.error("%s, lesion %d: failed: %s", case, number, fault)
                bar.update()
    if skipped:
        _LOG.info(
            "skipped %d of %d points: their folders hold the same request", skipped, bar.total
        )
    if failed:
        raise InputError(f"{failed} of {bar.total} points failed; each has its line above")


def _in_words(record: Mapping[str, Any]) -> str:
    """Returns the volumes in one line."""
    if "samples" in record:
        spread = record["samples"]["volume_ml"]
        return f"{spread['lowest']:.3g} to {spread['highest']:.3g} ml" if spread else "drawn"
    volumes = [each["volume_ml"] for each in record["prompts"]]
    return ", ".join("drawn" if each is None else f"{each:.3g} ml" for each in volumes)
