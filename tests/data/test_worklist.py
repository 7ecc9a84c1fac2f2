"""Lists of points in many scans."""

import pytest

from data_pipelines.scans import worklist
from prosona_jax.types import InputError


def read(tmp_path, text, frame="index"):
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    return worklist.read(tmp_path / "points.csv", frame)


def test_points_of_a_case_stay_in_order(tmp_path):
    text = "Case, slice,row ,column,note\nb,1,2,3,x\n\na,4,5,6\nb,7.5,8,9,\n"
    assert read(tmp_path, text) == {"b": ["1,2,3", "7.5,8,9"], "a": ["4,5,6"]}
    assert read(tmp_path, "\ufeffz;y;case;x\n3;2;a;-1\n", "LPS") == {"a": ["-1,2,3"]}


@pytest.mark.parametrize(
    ("text", "frame", "fault"),
    [
        ("", "index", "has no column case and no column slice and no column row and no column co"),
        ("case,x,y,z\na,1,2,3\n", "index", "no column row and no column column; its first line m"),
        ("case,slice,row,column\n", "index", "holds no point; add a line for each below case,sl"),
        ("case,x,y,z\na,1,2,3\nb,1,2\n", "RAS", "line 3: has no z; add it"),
        ("case,x,y,z\n,1,2,3\n", "xyz", "line 2: has no case; add it"),
        ("case,x,y,z\na/b,1,2,3\na_b,1,2,3\n", "xyz", "'a_b' and 'a/b' would get one folder"),
    ],
)
def test_faults_are_one_line(tmp_path, text, frame, fault):
    with pytest.raises(InputError) as error:
        read(tmp_path, text, frame)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_a_case_is_an_entry_of_the_folder(tmp_path):
    for name in ("a.nii.gz", "b.nii", "b.dcm", "c.d.nii"):
        (tmp_path / name).touch()
    (tmp_path / "series").mkdir()
    for case, name in (
        ("a", "a.nii.gz"), ("a.nii.gz", "a.nii.gz"), ("b.dcm", "b.dcm"), ("c.d", "c.d.nii"),
        ("series", "series"),
    ):  # fmt: skip
        assert worklist.find(tmp_path, case) == tmp_path / name
    for case, fault in (
        ("b", "has 2 files of the case 'b'"),
        ("..", "has no case '..'"),
        ("series/x", "has no case 'series/x'"),
    ):
        with pytest.raises(InputError, match=fault):
            worklist.find(tmp_path, case)
    with pytest.raises(InputError, match="no: cannot be read"):
        worklist.find(tmp_path / "no", "a")
