"""Writes masks as the contours of one DICOM RT Structure Set, which planning systems read.

A contour runs half-way between the middles of pixels inside and outside of the mask, so that it
encloses exactly the middles of the mask's pixels. A hole is joined to its contour by a line that
runs there and back (a keyhole), since many readers fill separate contours.
"""

import datetime
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from PIL import ImageColor
from scipy.spatial.distance import cdist
from skimage.measure import find_contours, points_in_poly

from data_pipelines import dicom
from data_pipelines.images import dicom_seg
from data_pipelines.scans import dicom as scan_dicom
from data_pipelines.scans.geometry import Geometry
from data_pipelines.scans.scan import Scan
from prosona_jax import __version__
from prosona_jax.types import InputError, first_line

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # how this format refers to a study
_OF_STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
)


def encode(
    scan: Scan,
    stem: str,
    masks: Mapping[int, np.ndarray],
    names: Sequence[str],
    notes: Sequence[str],
) -> dict[str, bytes]:
    """Returns one RT Structure Set whose structure k + 1 is mask k; see `scans.encode`."""
    geometry = cast(Geometry, scan.geometry)
    drawn = [k for k, each in masks.items() if each.any()] or [0]
    slices = dict(zip(drawn, scan_dicom.headers(scan, drawn), strict=True))
    stream = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom may warn of the patient's name
            data = _head(slices[drawn[0]].header, list(map(_image, slices.values())), names)
            for k, (name, note) in enumerate(zip(names, notes, strict=True)):
                contours = [
                    _contour(geometry, at, points, _image(each))
                    for at, each in slices.items()
                    if at in masks
                    for points in outlines(masks[at][k])
                ]
                _add(data, k, name, note, contours)
            data.save_as(stream, enforce_file_format=True)
    except Exception as error:  # on a faulty header pydicom may raise anything
        raise InputError(
            f"{scan.path}: its header cannot be used for an RT Structure Set "
            f"({first_line(error)}); fix the header, or leave the RT Structure Set out"
        ) from error
    return {f"{stem}_contours.dcm": stream.getvalue()}


def _head(header: Any, images: Sequence[Any], names: Sequence[str]) -> Any:
    """Returns a data set of the patient and the study, without structures."""
    pydicom, now = dicom.package(), datetime.datetime.now()
    data = pydicom.Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"  # a prompt may be in any language
    for name in _OF_STUDY:
        setattr(data, name, str(header.get(name) or ""))
    data.SOPClassUID = pydicom.uid.RTStructureSetStorage
    data.SOPInstanceUID, data.SeriesInstanceUID = (pydicom.uid.generate_uid() for _ in range(2))
    data.Modality, data.SeriesNumber, data.InstanceNumber = "RTSTRUCT", 1, 1
    data.SeriesDescription = dicom_seg.label(f"{dicom_seg.PROGRAM}: {'; '.join(names)}")
    data.Manufacturer = data.ManufacturerModelName = dicom_seg.PROGRAM
    data.SoftwareVersions = __version__
    data.StructureSetLabel = dicom_seg.PROGRAM
    data.StructureSetDate, data.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.ApprovalStatus, data.OperatorsName = "UNAPPROVED", ""
    series = _item(SeriesInstanceUID=header.SeriesInstanceUID, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=header.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame = _item(FrameOfReferenceUID=header.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence = []
    data.ROIContourSequence = []
    data.RTROIObservationsSequence = []
    data.file_meta = pydicom.dataset.FileMetaDataset()
    # With explicit types, the coordinates of a contour may have 64 kB at most.
    data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return data


def _add(data: Any, k: int, name: str, note: str, contours: Sequence[Any]) -> None:
    """Adds structure k + 1."""
    frame = data.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    structure = _item(
        ROINumber=k + 1,
        ReferencedFrameOfReferenceUID=frame,
        ROIName=dicom_seg.label(name),
        ROIDescription=dicom_seg.description(note),
        ROIGenerationAlgorithm="AUTOMATIC",
    )
    colour = ImageColor.getrgb(dicom_seg.COLOURS[k % len(dicom_seg.COLOURS)])
    shown = _item(ROIDisplayColor=list(colour), ReferencedROINumber=k + 1)
    if contours:
        shown.ContourSequence = contours
    observation = _item(
        ObservationNumber=k + 1,
        ReferencedROINumber=k + 1,
        RTROIInterpretedType="",
        ROIInterpreter="",
    )
    data.StructureSetROISequence.append(structure)
    data.ROIContourSequence.append(shown)
    data.RTROIObservationsSequence.append(observation)


def outlines(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the closed contours f64 [P, 2] (row, column) of a mask [H, W], joined to holes."""
    lines = [line - 1 for line in find_contours(np.pad(mask, 1).astype(float), 0.5)]
    outer = sorted((line for line in lines if _area(line) > 0), key=_area)
    holes = [line for line in lines if _area(line) < 0]
    for line in outer:  # an island in a hole comes before what surrounds both
        own = [k for k, hole in enumerate(holes) if points_in_poly(hole[:1], line)[0]]
        inside = [holes[k] for k in own]
        holes = [hole for k, hole in enumerate(holes) if k not in own]
        while inside:  # the nearest first, so that no line crosses another hole
            apart = [cdist(line, hole) for hole in inside]
            nearest = int(np.argmin([each.min() for each in apart]))
            at, start = np.unravel_index(apart[nearest].argmin(), apart[nearest].shape)
            hole = inside.pop(nearest)[:-1]  # the last point is the first again
            hole = np.concatenate([hole[start:], hole[: start + 1]])
            line = np.concatenate([line[: at + 1], hole, line[at:]])
        yield line[:-1]


def _area(line: np.ndarray) -> float:
    """Returns the area of a closed line, negative around a hole."""
    rows, columns = line.T
    return float(np.sum(rows[:-1] * columns[1:] - rows[1:] * columns[:-1]) / -2)


def _contour(geometry: Geometry, k: int, points: np.ndarray, image: Any) -> Any:
    places = geometry.positions[k] + points @ geometry.steps
    return _item(
        ContourImageSequence=[image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.4f}" for value in places.ravel()],
    )


def _image(of: dicom_seg.Slice) -> Any:
    """Returns the reference to a slice."""
    header, frame = of
    item = _item(
        ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID
    )
    if dicom.count_frames(header) > 1:
        item.ReferencedFrameNumber = frame + 1
    return item


def _item(**attributes: Any) -> Any:
    item = dicom.package().Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item
