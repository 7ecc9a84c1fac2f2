"""DICOM: a slice in one frame; masks become the segments of one DICOM-SEG."""

import io
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.images.picture import Picture, choose_slice, extra, unreadable
from data_pipelines.sources import dicom
from prosona_jax import __version__, texts
from prosona_jax.types import InputError

# What a segmentation takes over: these must have a value, those must be there, if empty.
_NEEDED = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
    *("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
)
_HOUNSFIELD = ("RescaleSlope", "RescaleIntercept")
_MAYBE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "SliceThickness"),
)
_LABEL_LENGTH, _DESCRIPTION_LENGTH = 64, 1024  # of DICOM's value representations LO and ST
_PROGRAM = "prosona_jax"


def read(path: pathlib.Path, slice_index: int | None, unit: str | None) -> Picture:
    """Reads the slice; see `images.read`.

    CT becomes HU. Anything else keeps its stored values, negated if the highest is the darkest.
    """
    del unit  # the file says what it is
    pydicom = extra("pydicom", "dicom", path)
    extra("highdicom", "dicom", path)  # asked for here, before a model runs
    try:
        dataset = pydicom.dcmread(path)
        frames = int(dataset.get("NumberOfFrames") or 1)
        colours = str(dataset.PhotometricInterpretation)
        hounsfield = dataset.get("Modality") == "CT" and dataset.get("RescaleType", "HU") == "HU"
        unscaled = [name for name in _HOUNSFIELD if hounsfield and dataset.get(name) is None]
    except pydicom.errors.InvalidDicomError as error:
        raise InputError(
            f"{path}: truncated, or {dicom.NO_PREAMBLE}; copy it again, or export it as a DICOM "
            "file"
        ) from error
    except Exception as error:  # pydicom raises whatever the bytes lead it to
        raise unreadable(path, error) from error
    if not colours.startswith("MONOCHROME"):
        raise InputError(f"{path}: is in colour; convert it to gray values (MONOCHROME2)")
    if frames > 1:
        raise InputError(f"{path}: holds {frames} frames; save the one to predict on as one slice")
    choose_slice(path, 1, slice_index)
    if unscaled:
        raise InputError(
            f"{path}: has no {' and no '.join(unscaled)}, needed to make HU of a CT's stored "
            "values; export the slice again with both slope and intercept, or as PNG"
        )
    try:
        image = (dicom.hounsfield if hounsfield else dicom.pixels)(dataset).astype(np.float32)
        spacing = np.array(dataset.get("PixelSpacing"), np.float32)
    except Exception as error:  # as above
        raise unreadable(path, error) from error
    if not hounsfield and colours == "MONOCHROME1":  # a CT's HU mean the same however it is shown
        image = -image
    if absent := [name for name in _NEEDED if not dataset.get(name)]:
        raise InputError(
            f"{path}: has no {' and no '.join(absent)}, which a DICOM-SEG of it needs; export the "
            "slice again with its geometry, or as PNG"
        )
    for name in _MAYBE_EMPTY:
        dataset.setdefault(name, None)
    unit = "HU" if hounsfield else "arbitrary"
    return Picture(image[..., None], unit, spacing, path, "dicom", dataset)


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one DICOM-SEG that refers to the slice: segment k + 1 is mask k, also an empty one.

    A label is the start of the name, a description that of the note.
    """
    highdicom = extra("highdicom", "dicom", picture.path)
    header = picture.origin
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the patient's name, which is the slice's own
            segmentation = highdicom.seg.Segmentation(
                source_images=[header],
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
                specific_character_set="ISO_IR 192",  # a prompt may be in any language
            )
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{picture.path}: a DICOM-SEG cannot take over its header ({error}); mend that, or "
            "export the slice as PNG"
        ) from error
    if "SpacingBetweenSlices" not in header:  # one slice has none, and 1 mm would be made up
        groups = segmentation.SharedFunctionalGroupsSequence[0]
        del groups.PixelMeasuresSequence[0].SpacingBetweenSlices
    stream = io.BytesIO()
    segmentation.save_as(stream, enforce_file_format=True)
    return {f"{stem}_masks.dcm": stream.getvalue()}


def _segments(highdicom: Any, names: Sequence[str], notes: Sequence[str]) -> list[Any]:
    """Returns what DICOM says of each segment: a lesion, drawn by an algorithm."""
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_PROGRAM, version=__version__, family=codes.cid7162.ArtificialIntelligence
    )
    segments = []
    for number, (name, note) in enumerate(zip(names, notes, strict=True), start=1):
        segment = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=texts.start(texts.visible(name).replace("\\", "/"), _LABEL_LENGTH),
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        segment.SegmentDescription = texts.start(texts.visible(note), _DESCRIPTION_LENGTH)
        segments.append(segment)
    return segments
