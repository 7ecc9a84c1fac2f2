"""The crops that come with the package: real, complete, and small."""

import numpy as np

from data_pipelines import splits
from data_pipelines.examples import PATH, examples


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
