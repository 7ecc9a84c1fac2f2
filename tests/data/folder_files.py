"""Small folders of images and raters' masks, of the layouts that are known, and their values."""

import pathlib
import zlib

import nibabel
import numpy as np
import pytest
from PIL import Image

from prosona_jax.types import InputError

VOLUMES = {"layout": "plain", "unit": "arbitrary", "slices": "any"}  # settings of `volume_folder`
PICTURES = {"layout": "plain"}  # and of `picture_folder`
AFFINE = np.diag([-0.5, -0.7, 3.0, 1.0])  # RAS: columns run to the left, rows to the back
AFFINE[:3, 3] = 40, 50, -60


def image(shape, seed=0):
    return np.random.default_rng(seed).normal(100, 30, shape).round().astype(np.int16)


def mask(shape, reach, label=1):
    """Returns a block that grows with `reach`, u8 of 0 and the label."""
    drawn = np.zeros(shape, np.uint8)
    drawn[2 : 4 + reach, 1 : 3 + reach] = label
    return drawn


def nifti(path, values, affine=AFFINE):
    """Writes values [channel, slice, row, column], or without the first axes, as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = nibabel.Nifti1Image(np.asarray(values).T, None if affine is None else affine)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, path)
    return path


def png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values)).save(path)
    return path


def metaimage(
    path, values, *, spacing=(0.5, 0.7, 3.0), packed=False, local=True, origin=True, channels=1
):
    """Writes values [slice, row, column], of several channels [channel, ...], as MetaImage in LPS.

    The channels of a pixel lie beside each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    pixels = np.moveaxis(values, 0, -1) if channels > 1 else values
    content = pixels.astype("<i2").tobytes()
    values = values[0] if channels > 1 else values
    name = "LOCAL" if local else f"{path.stem}.raw"
    lines = {
        "ObjectType": "Image",
        "NDims": values.ndim,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": packed,
        **({"TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-40 -50 -60"} if origin else {}),
        "ElementSpacing": " ".join(map(str, spacing)),
        "DimSize": " ".join(map(str, values.shape[::-1])),
        **({"ElementNumberOfChannels": channels} if channels > 1 else {}),
        "ElementType": "MET_SHORT",
        "ElementDataFile": name,
    }
    header = "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()
    content = zlib.compress(content) if packed else content
    path.write_bytes(header + (content if local else b""))
    if not local:
        path.with_suffix(".raw").write_bytes(content)
    return path


def nrrd(path, values, *, directions=((0.5, 0, 0), (0, 0.7, 0), (0, 0, 3.0)), **header):
    """Writes values [..., slice, row, column] as NRRD in LPS; one direction for each axis."""
    import nrrd as package

    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "space": "left-posterior-superior",
        "space directions": np.array(directions),
        "space origin": np.array([-40.0, -50, -60]),
        **header,
    }
    package.write(str(path), np.asarray(values).T, header, index_order="F")
    return path


def volume_folder(root: pathlib.Path, cases=("c1", "c2", "c3"), raters=("A", "B"), **changes):
    """Writes volumes 6 x 9 x 8 as `images/{case}.nii.gz` and `masks/{case}/{rater}.nii.gz`."""
    for n, case in enumerate(cases):
        nifti(root / "images" / f"{case}.nii.gz", image((6, 9, 8), n), **changes)
        for k, rater in enumerate(raters):
            drawn = np.zeros((6, 9, 8), np.uint8)
            drawn[1:4] = mask((9, 8), k + 1)
            nifti(root / "masks" / case / f"{rater}.nii.gz", drawn, **changes)
    return root


def picture_folder(root: pathlib.Path, cases=("c1", "c2", "c3"), raters=("A", "B")):
    """Writes pictures 9 x 8 as `images/{case}.png` and `masks/{case}/{rater}.png`."""
    for n, case in enumerate(cases):
        png(root / "images" / f"{case}.png", image((9, 8), n).clip(0, 255).astype(np.uint8))
        for k, rater in enumerate(raters):
            png(root / "masks" / case / f"{rater}.png", mask((9, 8), k + 1, 255))
    return root


def listed(read, **changes):
    """Returns the lines of the error with which a folder is refused."""
    with pytest.raises(InputError) as error:
        read(**changes)
    return str(error.value).splitlines()
