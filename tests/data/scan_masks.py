"""Masks on a scan of DICOM, and what the library of viewers reads of their DICOM-SEG."""

import io

import highdicom
import numpy as np
import pydicom
import pydicom.uid

from data_pipelines import scans

OBLIQUE = (0.36, 0.48, -0.8, -0.8, 0.6, 0.0)
NAMES, NOTES = ("tight", "wide"), ("note 1", "note 2")


def block(scan, slices):
    """Returns masks whose first is a block on the slices; the second is drawn on the first one."""
    masks = {k: np.zeros((2, *scan.shape), np.uint8) for k in slices}
    for k, each in masks.items():
        each[0, 2:7, 3 : 5 + k % 2] = 1
    masks[slices[0]][1, 4, 5] = 1
    return masks


def written(scan, masks, **options):
    return scans.encode(scan, "x", masks, names=NAMES, notes=NOTES, **options)


def segmentation(scan, masks):
    files = written(scan, masks)
    assert list(files) == ["x_masks.dcm"]
    return highdicom.seg.segread(io.BytesIO(files["x_masks.dcm"]))


def by_instance(scan, found, k):
    """Returns the masks [H, W, K] that refer to a slice of a series."""
    uid = pydicom.dcmread(scan.files[k]).SOPInstanceUID
    return found.get_pixels_by_source_instance([uid], assert_missing_frames_are_empty=True)[0]
