"""The crops that come with the package: real, complete, and small."""

import numpy as np

from data_pipelines import scans, splits
from data_pipelines.examples import PATH, SCAN, example_scan, examples


def test_every_crop_has_its_size_unit_citation_and_four_raters():
    found = examples()
    assert len(found) == 12
    for example in found:
        image = example.image
        assert (image.image.shape, image.image.dtype) == ((71, 71, 1), np.float32)
        assert image.intensity_unit == "HU"
        assert 0.4 < image.spacing_mm.min() <= image.spacing_mm.max() < 1
        assert example.masks.shape == (4, 71, 71)
        assert example.masks[:, 35 - 3 : 36 + 3, 35 - 3 : 36 + 3].any(axis=(1, 2)).all()
        assert "CC BY 3.0" in example.citation
    areas = [np.median(example.masks.sum(axis=(1, 2))) for example in found]
    assert areas == sorted(areas)
    last = found[-1]
    assert last.record_id == "LIDC-IDRI-0313_z-77.75_n828"
    assert sorted(last.masks.sum(axis=(1, 2))) == [626, 676, 774, 956]
    assert PATH.stat().st_size < 100_000


def test_the_first_fold_tests_on_their_patients():
    patients = [example.record_id.split("_")[0] for example in examples()]
    assert len(set(patients)) == 12
    parts = splits.assign(
        patients, [""] * 12, folds=4, fold=0, validation_share=0.15, needed=("test",)
    )
    assert parts["test"].tolist() == list(range(12))


def test_the_piece_of_a_scan_holds_the_whole_nodule():
    example = example_scan()
    assert example.masks.shape == (4, 16, 128, 128)
    assert example.masks.sum(axis=(1, 2, 3)).tolist() == [5905, 4613, 4955, 5498]
    k, row, column = (int(x) for x in example.point)
    assert example.masks[:, k, row, column].all()
    drawn = np.argwhere(example.masks.any(axis=0))
    assert (drawn.min(axis=0) > 0).all()
    assert (drawn.max(axis=0) < np.array([15, 127, 127])).all()
    assert "CC BY 3.0" in example.citation
    assert sum(file.stat().st_size for file in SCAN.parent.iterdir()) < 1_000_000


def test_the_piece_of_a_scan_lies_where_its_series_has_it(real_data):
    piece, series = example_scan().scan, scans.read(real_data / "dicom" / "LIDC-IDRI-0001")
    for k in range(piece.count):
        whole = series.picture(k).image[302:430, 254:382]
        np.testing.assert_array_equal(piece.picture(k).image, whole)
    np.testing.assert_allclose(
        piece.affine @ [5, 20, 30, 1], series.affine @ [5, 322, 284, 1], atol=1e-4
    )
