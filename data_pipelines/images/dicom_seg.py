"""Writes masks as one DICOM-SEG, the format of segmentations that viewers of DICOM read.

A DICOM-SEG refers to the slices that were segmented, by their identifiers and positions.
"""

import copy
import io
import pathlib
import types
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import dicom
from data_pipelines.images.picture import extra
from prosona_jax import __version__, unicode
from prosona_jax.types import InputError, first_line

# Colours of segments, those of the contours in `overlay.png`; the eleventh is the first again.
COLOURS = (
    *("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2"),
    *("#9C6ADE", "#A3A500", "#F8766D", "#A0785A"),
)
SAME_DIRECTION = 1e-3  # unit vectors may differ by this, since headers round them
PROGRAM = "prosona_jax"
_LABEL_LENGTH, _DESCRIPTION_LENGTH = 64, 1024  # limits of DICOM's value representations LO and ST
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_GEOMETRY = {  # {attribute of a frame: ((group, attribute), count of numbers)}
    "ImagePositionPatient": (dicom.POSITION, 3),
    "ImageOrientationPatient": (dicom.ORIENTATION, 6),
    "PixelSpacing": (dicom.SPACING, 2),
}
_SEGMENT = ("SegmentIdentificationSequence", "ReferencedSegmentNumber")
_MAYBE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime"),
)


class Slice(NamedTuple):
    """One frame of a DICOM image."""

    header: Any  # the data set
    frame: int  # 0-based


def absent(header: Any, frame: int) -> list[str]:
    """Returns the needed attributes that the header lacks, except the thickness.

    Raises:
        InputError: the value of one is invalid.
    """
    named = ("FrameOfReferenceUID", *_NEEDED)
    absent = [name for name in named if not str(header.get(name) or "").strip()]
    return absent + unplaced(header, frame)


def unplaced(header: Any, frame: int) -> list[str]:
    """Returns the attributes that the place of a frame needs and the header lacks.

    Raises:
        InputError: the value of one is invalid.
    """
    absent = []
    for name, (tag, count) in _GEOMETRY.items():
        found = dicom.numbers(dicom.attribute(header, frame, *tag), name, count)
        if found is None:
            several = tag == dicom.POSITION and dicom.count_frames(header) > 1
            absent.append(f"{name} of each frame" if several else name)
        elif count == 6:
            axes = np.reshape(found, (2, 3))
            if not np.allclose(axes @ axes.T, np.eye(2), rtol=0, atol=SAME_DIRECTION):
                absent.append(f"{name} of two unit vectors at right angles")
    return absent


def thickness(header: Any, frame: int) -> float | None:
    """Returns the thickness of a frame in mm, None if it is not stated or not above 0."""
    found = dicom.numbers(dicom.attribute(header, frame, *dicom.THICKNESS), "SliceThickness", 1)
    return found[0] if found and found[0] > 0 else None


def label(text: str) -> str:
    """Returns the start of a text as DICOM's value representation LO."""
    return unicode.start(unicode.visible(text).replace("\\", "/"), _LABEL_LENGTH)


def description(text: str) -> str:
    """Returns the start of a text as DICOM's value representation ST."""
    return unicode.start(unicode.visible(text), _DESCRIPTION_LENGTH)


def encode(
    path: pathlib.Path,
    slices: Sequence[Slice],
    masks: np.ndarray,
    names: Sequence[str],
    notes: Sequence[str],
    *,
    gap_mm: float | None,
    omit_empty: bool = False,
) -> bytes:
    """Returns a DICOM-SEG that refers to the slices: segment k + 1 is mask k, even if it is empty.

    A segment's label is the start of the name, its description the start of the note.

    Args:
        path: the image; error messages start with it.
        slices: n slices of one orientation, of one file with several frames or of several files
            with one frame each.
        masks: u8 {0, 1} [K, n, H, W].
        names: [K].
        notes: [K].
        gap_mm: distance from each slice of the image to the next; None: unknown, or not constant.
        omit_empty: leave out the masks that are empty on a slice, unless all are empty.

    Raises:
        InputError: the header cannot be used for a DICOM-SEG, or highdicom is missing.
    """
    highdicom = extra("highdicom", "dicom", path)
    for header, _ in slices:
        for name in _MAYBE_EMPTY:
            header.setdefault(name, None)
    try:
        with warnings.catch_warnings():
            # pydicom may warn of the patient's name, which is copied from the slice.
            warnings.simplefilter("ignore")
            segmentation = _build(
                highdicom, slices, masks, _segments(highdicom, names, notes), omit_empty
            )
            measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
            if gap_mm is not None:
                measures.SpacingBetweenSlices = round(gap_mm, 6)
            elif "SpacingBetweenSlices" in measures:  # highdicom's guess from the slices drawn on
                del measures.SpacingBetweenSlices
            stream = io.BytesIO()
            segmentation.save_as(stream, enforce_file_format=True)
            read_back = _read_back(highdicom, stream.getvalue(), slices, masks.shape)
        if not np.array_equal(read_back, masks):
            raise ValueError("its masks read back differ")
    except Exception as error:  # on a faulty header highdicom may raise anything
        raise InputError(
            f"{path}: its header cannot be used for a DICOM-SEG ({first_line(error)}); fix "
            "the header, or export the slice as PNG"
        ) from error
    return stream.getvalue()


def _build(
    highdicom: types.ModuleType,
    slices: Sequence[Slice],
    masks: np.ndarray,
    segments: Sequence[Any],
    omit_empty: bool,
) -> Any:
    """Returns highdicom's data set of the masks."""
    places = [[dicom.attribute(*each, *tag) for tag, _ in _GEOMETRY.values()] for each in slices]
    _, orientation, spacing = places[0]
    files = {id(header): header for header, _ in slices}  # frames of one file share its header
    return highdicom.seg.Segmentation(
        source_images=copy.deepcopy(list(files.values())),  # highdicom changes its argument
        pixel_array=np.moveaxis(masks, 0, -1),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        series_description=label(f"{PROGRAM}: {'; '.join(each.SegmentLabel for each in segments)}"),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=PROGRAM,
        manufacturer_model_name=PROGRAM,
        software_versions=__version__,
        device_serial_number="none",
        omit_empty_frames=omit_empty and bool(masks.any()),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", place) for place, *_ in places],
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", orientation),
        pixel_measures=highdicom.PixelMeasuresSequence(spacing, thickness(*slices[0])),
        specific_character_set="ISO_IR 192",  # a prompt may be in any language
    )


def _read_back(
    highdicom: types.ModuleType, content: bytes, slices: Sequence[Slice], shape: tuple[int, ...]
) -> np.ndarray:
    """Returns the masks u8 [K, n, H, W] of a DICOM-SEG; frames are found by their positions."""
    found = highdicom.seg.segread(io.BytesIO(content))
    places = np.array([dicom.attribute(*each, *dicom.POSITION) for each in slices], float)
    masks = np.zeros(shape, np.uint8)
    for k, frame in enumerate(found.pixel_array.reshape(-1, *shape[2:])):
        number = dicom.attribute(found, k, *_SEGMENT)
        place = np.array(dicom.attribute(found, k, *dicom.POSITION), float)
        masks[number - 1, np.linalg.norm(places - place, axis=1).argmin()] = frame
    return masks


def _segments(highdicom: types.ModuleType, names: Sequence[str], notes: Sequence[str]) -> list[Any]:
    """Returns the DICOM description of each segment: a lesion that an algorithm segmented."""
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=PROGRAM, version=__version__, family=codes.cid7162.ArtificialIntelligence
    )
    segments = []
    for k, (name, note) in enumerate(zip(names, notes, strict=True)):
        segment = highdicom.seg.SegmentDescription(
            segment_number=k + 1,
            segment_label=label(name),
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=highdicom.color.CIELabColor.from_string(COLOURS[k % len(COLOURS)]),
        )
        segment.SegmentDescription = description(note)
        segments.append(segment)
    return segments
