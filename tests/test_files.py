"""A file that is to be written: its folder must exist and take it."""

import tempfile

import pytest

from prosona_jax import files
from prosona_jax.types import InputError


def test_a_path_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError) as caught:
        files.check(tmp_path)
    assert str(caught.value) == (f"{tmp_path}: is a folder; name a file to write in it")

    def read_only(*, dir):
        raise OSError(30, "Read-only file system", f"{dir}/tmp")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(InputError) as caught:
        files.check(tmp_path / "crops.npz")
    assert str(caught.value) == (
        f"{tmp_path / 'crops.npz'}: cannot be written (Read-only file system); choose another "
        "folder"
    )
