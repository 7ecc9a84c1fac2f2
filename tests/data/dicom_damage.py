"""Attributes of DICOM that are read, and bytes that damage them."""

import pydicom
import pydicom.uid

READ = (
    *("Modality", "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames", "RescaleType"),
    *("RescaleSlope", "RescaleIntercept", "PixelSpacing", "SliceThickness", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "SpacingBetweenSlices", "ImagePositionPatient", "Rows", "Columns"),
    *("ImageOrientationPatient", "FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SOPInstanceUID", "SOPClassUID", "PatientID", "PatientName", "PatientBirthDate", "StudyID"),
    *("PatientSex", "AccessionNumber", "StudyDate", "StudyTime", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "PixelData", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
DAMAGE = {
    "missing": None,
    "empty": b"",
    "blank": b"  ",
    "word": b"abcdef",
    "zero": b"0 ",
    "negative": b"-1",
    "huge": b"1e308 ",
    "no number": b"NaN ",
    "repeated": b"1\\2\\3\\4\\5 ",
    "bytes": b"\xff\xfe\x00\x01",
}


def damage(dataset, name, content):
    """Replaces the bytes of an attribute, also by bytes that pydicom refuses to write."""
    tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(name))
    vr = pydicom.datadict.dictionary_VR(tag).split(" or ")[0]
    if content is None:
        dataset._dict.pop(tag, None)
    elif vr == "SQ":
        dataset[tag] = pydicom.DataElement(tag, "SQ", [pydicom.Dataset()] if content else [])
    else:
        length = len(content)
        dataset._dict[tag] = pydicom.dataelem.RawDataElement(
            tag, vr, length, content, 0, False, True
        )
