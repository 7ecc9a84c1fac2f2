"""Damaged and mislabelled files of every kind: a result, or one line, and nothing half-written.

The suite tries a few of each, the same every time. For many, drawn anew:

    python -m pytest tests/data/test_fuzz.py --hypothesis-profile=long
"""

import collections
import importlib
import io
import pathlib
import pickle
import shutil
import zipfile

import hypothesis
import nibabel
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from data_pipelines import finishing, images, lidc, prepared, runners, scans, voxels
from data_pipelines.fingerprint import Tally
from data_pipelines.images import output
from prosona_jax import unicode
from prosona_jax.evaluation import masks
from prosona_jax.text import prompts
from prosona_jax.types import InputError
from tests.data import folder_files
from tests.data.conftest import arrays

SCORE = importlib.import_module("prosona_jax.score")  # `prosona_jax.score` is a function
RAMP = np.arange(20 * 20).reshape(20, 20) % 251
SUFFIXES = (".png", ".jpg", ".tif", ".npz", ".nii", ".nii.gz", ".dcm", ".pickle", ".txt", "")

# In files that are read by position, the first bytes matter most.
positions = st.one_of(st.integers(0, 400), st.floats(0, 1))
damages = st.lists(
    st.one_of(
        st.tuples(st.just("cut"), positions),
        st.tuples(st.just("flip"), positions, st.integers(0, 7)),
        st.tuples(st.just("write"), positions, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), positions, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("drop"), positions, st.integers(1, 64)),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content, steps):
    """Returns the bytes after each step of damage."""
    content = bytearray(content)
    for kind, position, *rest in steps:
        k = int(position * len(content)) if isinstance(position, float) else position
        k = max(0, min(k, len(content) - 1))
        if kind == "cut":
            del content[k:]
        elif kind == "flip" and content:
            content[k] ^= 1 << rest[0]
        elif kind == "write":
            content[k : k + len(rest[0])] = rest[0]
        elif kind == "insert":
            content[k:k] = rest[0]
        elif kind == "drop":
            del content[k : k + rest[0]]
    return bytes(content)


def saved(image, kind, **options):
    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def npz(**data):
    stream = io.BytesIO()
    np.savez(stream, **data)
    return stream.getvalue()


def within(content, steps):
    """Damages one array in an npz file and keeps the checksums of zip valid."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for number, name in enumerate(old.namelist()):
            part = old.read(name)
            new.writestr(name, damaged(part, steps) if number % 2 == len(steps) % 2 else part)
    return stream.getvalue()


@pytest.fixture
def sound(make_dicom, make_enhanced):
    """Returns an undamaged image file of each kind: {name: (content, suffix)}."""
    gray = RAMP.astype(np.uint8)
    coloured = Image.fromarray(gray, mode="P")
    coloured.putpalette(list(range(256)) * 3)
    volume = np.stack([RAMP - 1000.0, RAMP + 100.0, RAMP * 2.0], axis=2).astype(np.int16)
    nifti = nibabel.Nifti1Image(volume, np.diag([0.7, 0.9, 2.5, 1])).to_bytes()
    second = nibabel.Nifti2Image(volume, np.diag([0.7, 0.9, 2.5, 1])).to_bytes()
    rgba = np.dstack([gray, gray, gray, gray])
    pages = [Image.fromarray(gray), Image.fromarray(gray)]
    return {
        "png": (saved(gray, "PNG"), ".png"),
        "png of 16 bits": (saved(RAMP.astype(np.uint16), "PNG"), ".png"),
        "png with alpha": (saved(rgba, "PNG"), ".png"),
        "png of a palette": (saved(coloured, "PNG", transparency=0), ".png"),
        "jpeg": (saved(gray, "JPEG"), ".jpg"),
        "tiff": (saved(RAMP.astype(np.uint16), "TIFF"), ".tif"),
        "tiff of pages": (saved(pages[0], "TIFF", save_all=True, append_images=pages), ".tif"),
        "npz": (npz(image=RAMP, intensity_unit="arbitrary", spacing_mm=[0.7, 0.7]), ".npz"),
        "nifti": (nifti, ".nii"),
        "nifti 2": (second, ".nii"),
        "dicom": (make_dicom().read_bytes(), ".dcm"),
        "enhanced dicom": (make_enhanced().read_bytes(), ".dcm"),
    }


def ends_well(path, work, *, known=()):
    """Runs a function; it must return, or raise an error of one line that starts with the path."""
    try:
        work()
    except InputError as fault:
        line = str(fault)
        assert "\n" not in line, line
        assert line.startswith((str(path), *known)), line
        return False
    return True


@hypothesis.given(data=st.data())
def test_images(sound, tmp_path, data):
    name = data.draw(st.sampled_from(sorted(sound)))
    content, suffix = sound[name]
    steps = data.draw(damages)
    inner = name == "npz" and data.draw(st.booleans())
    content = within(content, steps) if inner else damaged(content, steps)
    if data.draw(st.integers(0, 3)) == 0:
        suffix = data.draw(st.sampled_from(SUFFIXES))
    index = data.draw(st.sampled_from((None, 0, 1)))
    unit = data.draw(st.sampled_from((None, "HU", "arbitrary")))
    path, out = tmp_path / f"x{suffix}", tmp_path / "out"
    path.write_bytes(content)
    shutil.rmtree(out, ignore_errors=True)

    def work():
        picture = images.read(path, slice_index=index, unit=unit)
        assert np.isfinite(picture.image).all()
        drawn = np.zeros((2, *picture.image.shape[:2]), np.uint8)
        drawn[0, 1:3] = 1
        files = images.encode_masks("x", drawn, picture, names=["a", "b"], notes=["c", "d"])
        assert sorted(output.write(out, files, [picture.path])) == sorted(out.iterdir())

    if not ends_well(path, work):
        assert not out.exists()
    path.unlink()


def records(settings):
    """Reads a data set to the end, as `prepare` does."""

    def read():
        records = finishing.records(settings, Tally(), runners.one_by_one, windowed=True)
        collections.deque(records, maxlen=0)

    return read


@hypothesis.given(steps=damages, inner=st.booleans(), skip=st.booleans())
def test_npz_data_sets(make_settings, tmp_path, steps, inner, skip):
    path = tmp_path / "data.npz"
    content = npz(**arrays(n=3))
    path.write_bytes(within(content, steps) if inner else damaged(content, steps))
    settings = make_settings(path, on_error="skip" if skip else "raise")
    ends_well(path, records(settings))
    ends_well(path, lambda: SCORE.read(path))


@hypothesis.given(steps=damages, inner=st.booleans())
def test_masks_to_score(tmp_path, steps, inner):
    path = tmp_path / "masks.npz"
    labels = np.zeros((3, 2, 6, 6), np.uint8)
    content = npz(labels=labels, probs=labels[:, :1] + 0.5, patient_id=["a", "b", "c"])
    path.write_bytes(within(content, steps) if inner else damaged(content, steps))
    ends_well(path, lambda: masks.score(**SCORE.read(path), where=str(path)))


@hypothesis.given(steps=damages, protocol=st.sampled_from((2, 4)), skip=st.booleans())
def test_pickles(make_settings, tmp_path, steps, protocol, skip):
    path = tmp_path / "data.pickle"
    mask = np.eye(20, dtype=np.uint8)
    item = {"image": RAMP / 255, "masks": [mask, mask], "series_uid": "1.2_3"}
    path.write_bytes(damaged(pickle.dumps({"a": item, "b": item}, protocol=protocol), steps))
    ends_well(
        path, records(make_settings(path, source="pickled", on_error="skip" if skip else "raise"))
    )


@hypothesis.given(
    steps=damages, which=st.sampled_from(("images", "gt")), suffix=st.sampled_from(SUFFIXES)
)
def test_crops(make_settings, tmp_path, steps, which, suffix):
    shutil.rmtree(tmp_path)
    contents = {
        "images/p/z-1.0_c0": saved(RAMP.astype(np.uint8), "PNG"),
        "gt/p/z-1.0_c0_l0": saved(np.eye(20, dtype=np.uint8) * 255, "PNG"),
    }
    for name, content in contents.items():
        file = tmp_path / f"{name}.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(damaged(content, steps) if name.startswith(which) else content)
    ends_well(tmp_path, records(make_settings(tmp_path, source="crops")))


@hypothesis.given(data=st.data())
def test_dicom_folders(sound, make_settings, tmp_path, data):
    contour = lidc.Contour(30.0, True, np.array([[2, 2], [6, 2], [6, 8], [2, 8]]))
    nodule = lidc.Nodule("p", "1.2.3", 1, 0.5, ((contour,),) * 4)
    folder = tmp_path / "scans"
    folder.mkdir(exist_ok=True)
    content, _ = sound[data.draw(st.sampled_from(("dicom", "enhanced dicom")))]
    (folder / "1.dcm").write_bytes(damaged(content, data.draw(damages)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lidc, "nodules_of", lambda database, least: [nodule])
        patched.setattr(lidc, "read_series", lambda database: {"1.2.3": "p"})
        settings = make_settings(folder, source="dicom", size=9)
        ends_well(folder, records(settings))


@pytest.fixture
def drawn(make_series, tmp_path):
    """Returns a series, and masks of every kind on its voxels: {name: content}."""
    make_series(count=3)
    scan = scans.read(tmp_path / "scan")
    label = np.zeros((3, 12, 9), np.uint8)
    label[1, 3:8, 2:6] = 1
    block = {1: label[1:2]}
    asked = {"names": ["a"], "notes": [""]}
    segments = scans.encode(scan, "x", block, **asked)["x_masks.dcm"]
    contours = scans.encode(scan, "x", block, **asked, rtstruct=True)["x_contours.dcm"]
    grid = voxels.read_image(tmp_path, "scan", "").grid
    steps = ((0.75, 0, 0), (0, 0.5, 0), (0, 0, 2.5))
    origin = {"space origin": np.array([10.0, 20, 30])}
    packed = folder_files.metaimage(tmp_path / "m.mha", label, packed=True, origin=False)
    masks = {
        "mask.nrrd": folder_files.nrrd(tmp_path / "m.nrrd", label, directions=steps, **origin),
        "mask.nii": folder_files.nifti(tmp_path / "m.nii", label, None),
        "mask.mha": packed,
    }
    contents = {name: path.read_bytes() for name, path in masks.items()}
    contents |= {"segments.dcm": segments, "contours.dcm": contours, "mask.npz": npz(m=label)}
    return grid, contents


@hypothesis.given(data=st.data())
def test_masks_and_volumes_of_a_folder(drawn, tmp_path, data):
    grid, contents = drawn
    name = data.draw(st.sampled_from(sorted(contents)))
    path = tmp_path / name
    path.write_bytes(damaged(contents[name], data.draw(damages)))
    entry = f"{name}:m" if name.endswith("npz") else name
    unplaced = grid._replace(affine=None) if name in ("mask.npz", "mask.mha", "mask.nii") else grid
    ends_well(path, lambda: voxels.read_mask(tmp_path, entry, (), unplaced))
    if not name.endswith("dcm"):
        ends_well(path, lambda: voxels.read_image(tmp_path, entry, "HU"))


@hypothesis.settings(max_examples=10)
@hypothesis.given(steps=damages)
def test_a_data_set_is_prepared_completely_or_not_at_all(make_settings, tmp_path, steps):
    path, cache = tmp_path / "data.npz", tmp_path / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    path.write_bytes(within(npz(**arrays(n=3)), steps))
    if not ends_well(path, lambda: prepared.prepare(make_settings(path), str(cache))):
        assert [file.suffix for file in pathlib.Path(cache).iterdir()] == [".lock"]


@hypothesis.given(steps=damages, encoding=st.sampled_from(("utf-8", "utf-16", "latin-1")))
def test_prompt_files(tmp_path, steps, encoding):
    path = tmp_path / "prompts.yaml"
    content = "styles:\n- name: wide\n  train: [Draw a wide contour, Zeichne groß]\n"
    content += "  held_out:\n  - 'leave a margin'\n"
    path.write_bytes(damaged(content.encode(encoding), steps))
    source = str(path)
    ends_well(path, lambda: prompts.parse(unicode.decode(path.read_bytes(), source), source))
