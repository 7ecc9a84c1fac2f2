"""Fixtures shared by all tests: where real data lies, image files, and four fake CPU devices."""

import importlib.metadata
import os
import pathlib

# Before JAX starts: meshes and pmap are tested on four devices, whatever the machine has.
_FLAGS = ["--xla_force_host_platform_device_count=4"]
if importlib.metadata.version("jax").startswith("0.10."):  # later JAX does not know the flag
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")  # compiles faster
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS])
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# Compiling takes most of the time, on arrays so small that nothing is gained from optimised code.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import filelock  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """Folder with the real multi-rater files; the test skips where there is none."""
    beside = (path.parent for path in sorted(ROOT.parent.glob("*/data/lidc_crops.npz")))
    folder = os.environ.get("PROSONA_TEST_DATA") or next(beside, None)
    if folder is None or not pathlib.Path(folder).is_dir():
        pytest.skip("no real data: set PROSONA_TEST_DATA to their folder (CONTRIBUTING.md)")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Returns ``made_once(name, make)``: the folder that `make(folder)` fills for all workers.

    Another worker that needs the folder waits until it is whole. No test may change it.
    """

    def made(name, make):
        base = tmp_path_factory.getbasetemp()
        base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        folder = base / name
        with filelock.FileLock(base / f"{name}.lock"):
            if not (folder / "whole").exists():
                folder.mkdir()
                make(folder)
                (folder / "whole").touch()
        return folder

    return made


@pytest.fixture
def make_nifti(tmp_path):
    """Writes voxels of 0.7 x 0.9 x 2.5 mm, mirrored and slightly turned."""
    import nibabel  # here and below, for the tests that need neither are many

    affine = np.diag([-0.7, 0.9, 2.5, 1.0])
    turn = [[np.cos(0.05), -np.sin(0.05)], [np.sin(0.05), np.cos(0.05)]]
    affine[1:3, 1:3] = turn @ affine[1:3, 1:3]
    affine[:3, 3] = 90, -120, 33

    def make(voxels, name="ct.nii"):
        image = nibabel.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units("mm")
        image.header["cal_max"] = 400
        image.set_qform(affine, code=1)
        nibabel.save(image, tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def make_dicom(tmp_path):
    """Writes a CT slice, 12x9, with attributes replaced, or left out (None)."""
    import pydicom
    import pydicom.uid

    def make(name="1.dcm", stored=None, **changes):
        ramp = (np.arange(12 * 9).reshape(12, 9) * 7 - 300).astype(np.int16)
        stored = ramp if stored is None else stored
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        attributes = {
            "SOPClassUID": pydicom.uid.CTImageStorage,
            "SOPInstanceUID": "1.2.3.4",
            "StudyInstanceUID": "1.2",
            "SeriesInstanceUID": "1.2.3",
            "FrameOfReferenceUID": "1.9",
            "PatientID": "p1",
            "ImagePositionPatient": [10.0, 20.0, 30.0],
            "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "Modality": "CT",
            "PixelSpacing": [0.5, 0.75],
            "SliceThickness": 2.5,
            "RescaleSlope": 2,
            "RescaleIntercept": -1024,
            "Rows": stored.shape[0],
            "Columns": stored.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "PixelData": stored.tobytes(),
            **changes,
        }
        for key, value in attributes.items():
            if value is not None:
                setattr(dataset, key, value)
        dataset.file_meta.MediaStorageSOPClassUID = attributes["SOPClassUID"]
        dataset.file_meta.MediaStorageSOPInstanceUID = attributes["SOPInstanceUID"]
        dataset.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return make
