"""Makes small files for the tests, and settings for the npz data set with several raters."""

import collections
import pathlib

import hypothesis
import numpy as np
import pytest

from data_pipelines import sources
from data_pipelines.settings import Settings
from prosona_jax.types import InputError

# A test's fixtures make files once; the test damages them many times.
_COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
hypothesis.settings.register_profile("suite", max_examples=60, derandomize=True, **_COMMON)
hypothesis.settings.register_profile("long", max_examples=5000, **_COMMON)
hypothesis.settings.load_profile("suite")


def arrays(n=12, raters=3, size=20):
    """Returns discs on noise, larger for later raters; two records per patient."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((size, size)) - size // 2
    radius = np.arange(2, 2 + raters)[:, None, None]
    disc = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return {
        "image": rng.integers(-900, 300, (n, size, size)).astype(np.int16),
        "masks": np.tile(disc, (n, 1, 1, 1)),
        "patient_id": np.array([f"p{i // 2:02d}" for i in range(n)]),
        "record_id": np.array([f"r{i:02d}" for i in range(n)]),
        "spacing_mm": np.full((n, 2), 0.7, np.float32),
        "intensity_unit": np.array("HU"),
    }


def refusal(read, path, **asked):
    """Returns the line with which a function refuses to read a file."""
    with pytest.raises(InputError) as error:
        read(path, **asked)
    assert "\n" not in str(error.value)
    return str(error.value)


def fault_of(read, path, **asked):
    """Returns that line without the file's path, with which it begins."""
    line = refusal(read, path, **asked)
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


@pytest.fixture
def make_npz(tmp_path):
    """Writes the file; an argument replaces a key by an array, or with None omits it."""

    def make(name="data.npz", **changes):
        data = {k: v for k, v in {**arrays(), **changes}.items() if v is not None}
        np.savez(tmp_path / name, **data)
        return tmp_path / name

    return make


@pytest.fixture
def make_settings():
    """Returns settings that read a 20x20 file without resampling, with fields replaced."""

    def make(path, **changes):
        defaults = {
            "source": "npz",
            "path": str(path),
            "size": 20,
            "spacing_mm": 0.0,
            "slices": "all",
            "window_hu": (-1000.0, 400.0),
            "percentiles": (1.0, 99.0),
            "raters": "stored",
            "on_error": "raise",
        }
        return Settings(**{**defaults, **changes})

    return make


@pytest.fixture
def read_folder(make_settings, tmp_path):
    """Returns what the source `folder` yields of `tmp_path / "data"`."""

    def read(**changes):
        settings = make_settings(tmp_path / "data", source="folder", **changes)
        return list(sources.records(settings, collections.Counter()))

    return read


@pytest.fixture
def cache(tmp_path):
    """Names a folder for prepared data sets."""
    return str(tmp_path / "cache")


def folders(cache):
    """Returns the folders of the data sets that are in the cache."""
    return [path for path in pathlib.Path(cache).iterdir() if path.is_dir()]


@pytest.fixture
def changed():
    """Returns a copy of one array of the file with one element replaced."""

    def change(key, where, value, dtype=None):
        array = arrays()[key]
        array = array.astype(dtype or array.dtype)
        array[where] = value
        return array

    return change


def item(**attributes):
    """Returns a DICOM sequence of one item."""
    import pydicom

    dataset = pydicom.Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return [dataset]


@pytest.fixture
def make_enhanced(make_dicom):
    """Writes three frames whose slope, spacing and position are in functional groups."""

    import pydicom.uid  # imported here, since few tests need it

    def make(modality="CT", **changes):
        frames = [
            item(
                PlanePositionSequence=item(ImagePositionPatient=[0, 0, 4 * k]),
                PixelValueTransformationSequence=item(
                    RescaleSlope=1 + k, RescaleIntercept=-1024, RescaleType="HU"
                ),
                FrameContentSequence=item(StackID="1", InStackPositionNumber=k + 1),
            )[0]
            for k in range(3)
        ]
        measures = item(PixelSpacing=[0.5, 0.75], SliceThickness=2.5)
        shared = item(
            PixelMeasuresSequence=measures,
            PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        )
        top = dict.fromkeys(
            ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
             "RescaleSlope", "RescaleIntercept")
        )  # fmt: skip
        ramp = np.arange(12 * 9).reshape(12, 9) * 7
        stored = np.stack([ramp, ramp + 1, ramp + 2]).astype(np.int16)
        of_ct = pydicom.uid.EnhancedCTImageStorage
        return make_dicom(
            "enhanced.dcm",
            stored=stored,
            Modality=modality,
            SOPClassUID=of_ct if modality == "CT" else pydicom.uid.EnhancedMRImageStorage,
            Rows=12,
            Columns=9,
            NumberOfFrames=3,
            SharedFunctionalGroupsSequence=shared,
            PerFrameFunctionalGroupsSequence=frames,
            **{**top, **changes},
        )

    return make


@pytest.fixture
def make_series(make_dicom, tmp_path):
    """Writes slices 12x9 of one series to the folder `scan`, 2.5 mm apart along their normal."""

    def make(count=5, *, skip=(), axes=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), uid="1.2.3", **changes):
        (tmp_path / "scan").mkdir(exist_ok=True)
        normal = np.cross(axes[:3], axes[3:])
        paths = []
        for k in range(count):
            stored = (np.arange(12 * 9).reshape(12, 9) * 7 - 300 + k).astype(np.int16)
            place = np.array([10.0, 20.0, 30.0]) + 2.5 * k * normal
            attributes = {
                "SOPInstanceUID": f"{uid}.{k + 1}",
                "SeriesInstanceUID": uid,
                "InstanceNumber": 100 - k,  # counts from the head, as many scanners do
                "ImagePositionPatient": place.round(6).tolist(),
                "ImageOrientationPatient": list(axes),
                **changes,
            }
            if k not in skip:
                paths.append(make_dicom(f"scan/{uid}-{k}.dcm", stored=stored, **attributes))
        return paths

    return make
