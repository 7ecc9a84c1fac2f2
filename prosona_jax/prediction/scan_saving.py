"""Writes a prediction on a scan: masks or maps on the scan's grid, a sheet of slices, a record."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines import scans
from data_pipelines.scans import Scan, maps
from prosona_jax.prediction import records
from prosona_jax.prediction.scan_segmentation import ScanSamples, ScanSegmentation, volume_ml
from prosona_jax.report import figures, sheet
from prosona_jax.runtime import provenance
from prosona_jax.types import InputError

_TO_RAS = np.array([-1.0, -1.0, 1.0])


def save(
    drawn: ScanSegmentation | Sequence[ScanSegmentation] | ScanSamples,
    scan: Scan,
    folder: str | os.PathLike[str],
    *,
    request: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes contours or samples on a scan, all files or none; see `saving.save`.

    Args:
        drawn: contours at one point, one or several; or samples.
        scan: the scan on which they were drawn.
        folder: as in `saving.save`.
        request: what was asked, for the record.

    Returns:
        The content of the record.
    """
    if isinstance(drawn, ScanSamples):
        return _save_samples(drawn, scan, folder, request)
    contours = [drawn] if isinstance(drawn, ScanSegmentation) else list(drawn)
    if not contours:
        raise InputError(f"{scan.path}: there is no contour to save; draw one first")
    first, stem = contours[0], scans.stem(scan)
    names = [each.prompt for each in contours]
    masks = _stacked([each.masks for each in contours], scan)
    files = scans.encode(
        scan, stem, masks, names=names, rtstruct=scan.format == "dicom",
        notes=[f"{first.note} Prompt: {name}" for name in names],
    )  # fmt: skip
    answers = [
        _answer(n, each, _files_of(n, len(names), scan, files)) for n, each in enumerate(contours)
    ]
    labels = [
        records.label(each.prompt, each.reading, each.added_mm, _size(each.masks, scan))
        for each in contours
    ]
    return records.write(
        folder,
        files,
        _sheet(scan, first, masks, labels),
        _record(scan, first, request)
        | {
            "prompts": answers,
            "caveats": list(dict.fromkeys(c for each in contours for c in each.caveats)),
        },
        stem=stem,
        sources=scan.files,
    )


def _save_samples(
    drawn: ScanSamples,
    scan: Scan,
    folder: str | os.PathLike[str],
    request: Mapping[str, Any] | None,
) -> dict[str, Any]:
    stem, count = scans.stem(scan), drawn.samples
    files = maps.encode(
        scan, stem, {"agreement": drawn.agreement, "entropy": drawn.entropy}, note=drawn.note
    )
    levels = [drawn.at_least(share) for share in (1 / count, 0.5, 1.0)]
    labels = [
        f"{name} of {count} samples ({_size(masks, scan)})"
        for name, masks in zip(("at least 1", "at least half", "all"), levels, strict=True)
    ]
    volumes = drawn.volumes_ml
    answer = {
        "count": count,
        "volume_ml": volumes and _spread(volumes),
        "volumes_ml": volumes and list(volumes),
        "slices": _slices(drawn.agreement),
        "files": list(files),
    }
    return records.write(
        folder,
        files,
        _sheet(scan, drawn, _stacked(levels, scan), labels),
        _record(scan, drawn, request) | {"samples": answer, "caveats": list(drawn.caveats)},
        stem=stem,
        sources=scan.files,
    )


def _spread(volumes: Sequence[float]) -> dict[str, float]:
    return {
        "lowest": min(volumes),
        "median": float(np.median(volumes)),
        "highest": max(volumes),
    }


def _stacked(contours: Sequence[Mapping[int, np.ndarray]], scan: Scan) -> dict[int, np.ndarray]:
    """Returns contours {slice: u8 [H, W]} as {slice: u8 [K, H, W]}."""
    empty = np.zeros(scan.shape, np.uint8)
    drawn = sorted({k for each in contours for k in each})
    return {k: np.stack([each.get(k, empty) for each in contours]) for k in drawn}


def _files_of(n: int, count: int, scan: Scan, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Returns the files of contour n of several; all are in one file of DICOM."""
    if scan.format == "dicom":
        return {"files": list(files), "segment": n + 1}
    return {"files": list(files)[n::count]}


def _answer(n: int, drawn: ScanSegmentation, files: Mapping[str, Any]) -> dict[str, Any]:
    reading = {} if drawn.reading is None else drawn.reading._asdict()
    return {
        "prompt": drawn.prompt,
        "volume_ml": drawn.volume_ml,
        "voxels": sum(int(mask.sum()) for mask in drawn.masks.values()),
        "slices": _slices(drawn.masks),
        "added_mm": drawn.added_mm,
        **reading,
        **files,
        "caveats": list(drawn.caveats),
    }


def _slices(masks: Mapping[int, np.ndarray]) -> list[int] | None:
    """Returns the first and the last slice that is not empty; None if all are."""
    drawn = [k for k, mask in masks.items() if mask.any()]
    return [min(drawn), max(drawn)] if drawn else None


def _size(masks: Mapping[int, np.ndarray], scan: Scan) -> str:
    ml = volume_ml(scan, masks)
    if ml is None:
        return f"{sum(int(mask.sum()) for mask in masks.values())} voxels"
    return f"{records.digits(ml)} ml"


def _sheet(
    scan: Scan,
    drawn: ScanSegmentation | ScanSamples,
    masks: Mapping[int, np.ndarray],
    labels: Sequence[str],
) -> bytes:
    spacing_mm = scan.spacing_mm[1:].astype(np.float32)
    figure = sheet.draw(drawn.shown, masks, labels, start=drawn.point[0], spacing_mm=spacing_mm)
    return figures.png(figure, footnote=f"{scan.path.name}. {drawn.note}")


def _record(
    scan: Scan, drawn: ScanSegmentation | ScanSamples, request: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns the scan, the model and the request, ready for JSON."""
    place = None if scan.geometry is None else scan.geometry.place(*drawn.point)
    has_spacing = not np.isnan(scan.spacing_mm).any()
    return (
        provenance.describe()
        | drawn.source
        | {
            "image": str(scan.path),
            "slice_count": scan.count,
            "spacing_mm": scan.spacing_mm.round(6).tolist() if has_spacing else None,
            "index": list(drawn.point),  # slice, row, column, counted from 0
            "lps_mm": None if place is None else place.round(3).tolist(),
            "ras_mm": None if place is None else (place * _TO_RAS).round(3).tolist(),
            "request": None if request is None else dict(request),
        }
    )
