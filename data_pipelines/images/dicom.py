"""Reads one frame of a DICOM file, and writes its masks as the segments of one DICOM-SEG.

If the header lacks an attribute that a DICOM-SEG needs, each mask becomes a PNG file instead.
"""

import copy
import io
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import dicom, folders
from data_pipelines.images.picture import Asked, Picture, choose_slice, extra
from prosona_jax import __version__, unicode
from prosona_jax.types import InputError, first_line

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_GEOMETRY = {  # {attribute of a frame: ((group, attribute), count of numbers)}
    "ImagePositionPatient": (dicom.POSITION, 3),
    "ImageOrientationPatient": (dicom.ORIENTATION, 6),
    "PixelSpacing": (dicom.SPACING, 2),
}
_MAYBE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime"),
)
_SERIES_TAGS = ["SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient"]
_SAME_DIRECTION = 1e-3  # unit vectors may differ by this, since headers round them
_LEAST_GAP = 0.1  # in pixels; frames closer than this show the same slice
_LABEL_LENGTH, _DESCRIPTION_LENGTH = 64, 1024  # limits of DICOM's value representations LO and ST
_PROGRAM = "prosona_jax"
_REMEDY = "copy it again, or export it as a DICOM file"


class _Origin(NamedTuple):
    """The parts of an image file that a DICOM-SEG is made from."""

    header: Any  # the data set
    frame: int  # 0-based


def read(path: pathlib.Path, asked: Asked) -> Picture:
    """Reads one frame; see `images.read`.

    The slope and intercept, or the table, of the file are applied, which gives HU for CT.
    """
    extra("pydicom", "dicom", path)
    extra("highdicom", "dicom", path)  # if it is missing, this fails before a model runs
    with dicom.reading(path, _REMEDY):
        header = dicom.package().dcmread(path)
        caveats = []
        if not header.get("PhotometricInterpretation"):
            caveats.append("PhotometricInterpretation is empty: high values are taken for bright.")
        dicom.check_image(header)
        count = dicom.count_frames(header)
    frame = choose_slice(path, count, asked.slice_index)
    with dicom.reading(path, _REMEDY):
        unit = dicom.unit(header, frame) or asked.unit or "arbitrary"
        image = dicom.values(header, frame, hounsfield=unit == "HU")
        spacing = dicom.spacing_mm(header, frame)
        absent = _absent(header, frame)
        if not absent:
            caveats += _complete_thickness(path, header, frame)
            absent = [] if _thickness(header, frame) else ["SliceThickness"]
    if absent:
        caveats.append(
            f"No DICOM-SEG: the header has no {' and no '.join(absent)}, so the masks are PNG "
            "files of this slice's pixels."
        )
    return Picture(
        image[..., None],
        unit,
        spacing,
        path,
        "raster" if absent else "dicom",
        _Origin(header, frame),
        tuple(caveats),
        inverted=dicom.is_inverted(header),
    )


def _absent(header: Any, frame: int) -> list[str]:
    """Returns the needed attributes that the header lacks; InputError on an invalid value."""
    named = ("FrameOfReferenceUID", *_NEEDED)
    absent = [name for name in named if not str(header.get(name) or "").strip()]
    for name, (tag, count) in _GEOMETRY.items():
        found = dicom.numbers(dicom.attribute(header, frame, *tag), name, count)
        if found is None:
            several = tag == dicom.POSITION and dicom.count_frames(header) > 1
            absent.append(f"{name} of each frame" if several else name)
        elif count == 6:
            axes = np.reshape(found, (2, 3))
            if not np.allclose(axes @ axes.T, np.eye(2), rtol=0, atol=_SAME_DIRECTION):
                absent.append(f"{name} of two unit vectors at right angles")
    return absent


def _thickness(header: Any, frame: int) -> float | None:
    found = dicom.numbers(dicom.attribute(header, frame, *dicom.THICKNESS), "SliceThickness", 1)
    return found[0] if found and found[0] > 0 else None


def _complete_thickness(path: pathlib.Path, header: Any, frame: int) -> list[str]:
    """Sets a missing SliceThickness to the distance to the next slice; returns a caveat.

    A DICOM-SEG needs a thickness. If slices touch, their distance is their thickness.
    """
    if _thickness(header, frame) is not None:
        return []
    gap = dicom.numbers(dicom.attribute(header, frame, *dicom.GAP), "SpacingBetweenSlices", 1)
    if gap and gap[0]:
        thickness, source = abs(gap[0]), "SpacingBetweenSlices"
    else:
        distances = _distances(path, header, frame)
        if not distances:
            return []
        thickness, source = min(distances), "the distance to the next slice"
    dicom.holder(header, frame, dicom.THICKNESS[0]).SliceThickness = round(thickness, 6)
    return [f"SliceThickness is missing: {source}, {thickness:g} mm, is taken for it."]


def _distances(path: pathlib.Path, header: Any, frame: int) -> list[float]:
    """Returns the distances in mm to the other slices of the series, above and below.

    These slices are other frames of the file, or other files of the same folder.
    """
    orientation = np.array(dicom.attribute(header, frame, *dicom.ORIENTATION), float)
    own = np.array(dicom.attribute(header, frame, *dicom.POSITION), float)
    planes = [
        (
            dicom.attribute(header, k, *dicom.POSITION),
            dicom.attribute(header, k, *dicom.ORIENTATION),
        )
        for k in range(dicom.count_frames(header))
    ]
    if len(planes) == 1:
        planes = _neighbours(path, header)
    apart = [
        abs(float(dicom.normal(orientation) @ (np.array(position, float) - own)))
        for position, turned in planes
        if position and turned and len(position) == 3 and len(turned) == 6
        if np.allclose(np.array(turned, float), orientation, rtol=0, atol=_SAME_DIRECTION)
    ]
    least = _LEAST_GAP * float(dicom.spacing_mm(header, frame).min())
    return [distance for distance in apart if distance > least]


def _neighbours(path: pathlib.Path, header: Any) -> list[tuple[Any, Any]]:
    """Returns position and orientation of the files of this series in the same folder."""
    planes = []
    for file in folders.entries(path.parent):
        try:
            other = dicom.package().dcmread(
                file, stop_before_pixels=True, specific_tags=_SERIES_TAGS
            )
        except Exception:  # not every file of a folder is DICOM
            continue
        if other.get("SeriesInstanceUID") == header.SeriesInstanceUID:
            planes.append((other.get("ImagePositionPatient"), other.get("ImageOrientationPatient")))
    return planes


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one DICOM-SEG that refers to the slice: segment k + 1 is mask k, even if it is empty.

    A segment's label is the start of the name, its description the start of the note.
    """
    highdicom = extra("highdicom", "dicom", picture.path)
    header, frame = picture.origin
    for name in _MAYBE_EMPTY:
        header.setdefault(name, None)
    position, orientation, spacing = (
        dicom.attribute(header, frame, *tag) for tag, _ in _GEOMETRY.values()
    )
    try:
        with warnings.catch_warnings():
            # pydicom may warn of the patient's name, which is copied from the slice.
            warnings.simplefilter("ignore")
            segmentation = highdicom.seg.Segmentation(
                source_images=[copy.deepcopy(header)],  # highdicom changes its argument
                pixel_array=np.moveaxis(masks, 0, -1)[None],
                segmentation_type="BINARY",
                segment_descriptions=_segments(highdicom, names, notes),
                series_instance_uid=highdicom.UID(),
                series_number=1,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=_PROGRAM,
                manufacturer_model_name=_PROGRAM,
                software_versions=__version__,
                device_serial_number="none",
                omit_empty_frames=False,
                plane_positions=[highdicom.PlanePositionSequence("PATIENT", position)],
                plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", orientation),
                pixel_measures=highdicom.PixelMeasuresSequence(spacing, _thickness(header, frame)),
                specific_character_set="ISO_IR 192",  # a prompt may be in any language
            )
            groups = segmentation.SharedFunctionalGroupsSequence[0]
            if dicom.attribute(header, frame, *dicom.GAP) is None:  # highdicom would set 1 mm
                del groups.PixelMeasuresSequence[0].SpacingBetweenSlices
            stream = io.BytesIO()
            segmentation.save_as(stream, enforce_file_format=True)
            read_back = highdicom.seg.segread(io.BytesIO(stream.getvalue())).pixel_array
        if not np.array_equal(read_back.reshape(masks.shape), masks):
            raise ValueError("its masks read back differ")
    except Exception as error:  # on a faulty header highdicom may raise anything
        raise InputError(
            f"{picture.path}: its header cannot be used for a DICOM-SEG ({first_line(error)}); fix "
            "the header, or export the slice as PNG"
        ) from error
    return {f"{stem}_masks.dcm": stream.getvalue()}


def _segments(highdicom: Any, names: Sequence[str], notes: Sequence[str]) -> list[Any]:
    """Returns the DICOM description of each segment: a lesion that an algorithm segmented."""
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_PROGRAM, version=__version__, family=codes.cid7162.ArtificialIntelligence
    )
    segments = []
    for number, (name, note) in enumerate(zip(names, notes, strict=True), start=1):
        segment = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=unicode.start(unicode.visible(name).replace("\\", "/"), _LABEL_LENGTH),
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        segment.SegmentDescription = unicode.start(unicode.visible(note), _DESCRIPTION_LENGTH)
        segments.append(segment)
    return segments
