"""A workdir belongs to one config and one data set, and refuses others with the difference."""

import copy
import errno
import json

import pytest

from prosona_jax import checksum
from prosona_jax.runtime import workdir
from prosona_jax.types import InputError

RUN = workdir.Run(
    config={
        "seed": 0,
        "steps": 8,
        "data": {"path": "a.npz", "cache_dir": "~/.cache", "window_hu": (-1000.0, 400.0)},
        "model": {"channels": (4, 8), "norm": "group"},
        "prompts": {"encoder": "a"},
    },
    data_digest="0123456789abcdef",
    patients={"train": ["p1", "p2"], "validation": ["p3"], "test": ["p4"]},
    channels=1,
    raters=4,
    prompts={"encoder": {"name": "a", "digest": "0f", "dim": 8}, "styles": []},
    intensity_unit="HU",
    native_spacing_mm=[[0.5, 0.5], [0.9, 0.9]],
    simulated=False,
)


def _changed(**changes):
    """Returns RUN with config fields changed, such as model__norm."""
    config = copy.deepcopy(RUN.config)
    for name, value in changes.items():
        *groups, field = name.split("__")
        target = config
        for group in groups:
            target = target[group]
        target[field] = value
    return RUN._replace(config=config)


def test_a_workdir_can_be_read_and_claimed_again_by_the_same_run(tmp_path):
    folder = tmp_path / "runs" / "new"
    workdir.claim(folder, RUN)
    before = (folder / "run.json").read_bytes()
    workdir.claim(folder, RUN)  # JSON turns tuples into lists, which is not a difference
    assert (folder / "run.json").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    found = workdir.read(folder)
    assert found.patients == RUN.patients
    assert found.data_digest == RUN.data_digest
    assert found.config["model"] == {"channels": [4, 8], "norm": "group"}


def test_check_does_not_claim_the_folder(tmp_path):
    workdir.check(tmp_path / "new", RUN)
    assert not (tmp_path / "new").exists()
    workdir.claim(tmp_path, RUN)
    workdir.check(tmp_path, RUN)
    with pytest.raises(InputError, match=r"config\.steps = 8, not 9"):
        workdir.check(tmp_path, _changed(steps=9))


def test_fields_are_flat_and_have_no_paths():
    assert workdir.fields(RUN.config) == {
        "seed": 0, "steps": 8, "data.window_hu": [-1000.0, 400.0],
        "model.channels": [4, 8], "model.norm": "group",
    }  # fmt: skip


def test_the_path_of_the_data_may_change(tmp_path):
    workdir.claim(tmp_path, RUN)
    workdir.claim(tmp_path, _changed(data__path="/data/b.npz", data__cache_dir="/scratch"))
    assert workdir.read(tmp_path).config["data"]["path"] == "a.npz"


def test_training_may_go_on_with_another_wrapper(tmp_path):
    """A checkpoint can be used with a mesh and with pmap."""
    workdir.claim(tmp_path, _changed(parallel="mesh"))
    workdir.claim(tmp_path, _changed(parallel="pmap"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 9}, "config.steps = 8, not 9; use"),
        ({"model__norm": "none"}, "config.model.norm = 'group', not 'none'; use"),
        ({"model__channels": (4, 16)}, "config.model.channels = [4, 8], not [4, 16]; use"),
        ({"seed": 1}, "config.seed = 0, not 1; use"),
        (
            {"steps": 9, "model__norm": "none", "data__window_hu": (0.0, 1.0)},
            "config.data.window_hu = [-1000.0, 400.0], not [0.0, 1.0] and 2 more fields; use",
        ),
    ],
)
def test_another_config_is_refused_and_the_field_is_named(tmp_path, changes, message):
    workdir.claim(tmp_path, RUN)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InputError) as fault:
        workdir.claim(tmp_path, _changed(**changes))
    assert str(fault.value) == (
        f"{tmp_path}/run.json: this workdir was trained with {message} its config again, or "
        "another --workdir"
    )
    assert (tmp_path / "run.json").read_bytes() == before


def test_other_data_are_refused(tmp_path):
    workdir.claim(tmp_path, RUN)
    with pytest.raises(InputError) as fault:
        workdir.claim(tmp_path, RUN._replace(data_digest="fedcba9876543210"))
    assert str(fault.value) == (
        f"{tmp_path}/run.json: this workdir was trained on other data (digest 0123456789ab, now "
        "fedcba987654); use its data again, or another --workdir"
    )


def test_the_path_of_the_text_encoder_may_change(tmp_path):
    workdir.claim(tmp_path, RUN)
    moved = RUN.prompts | {"encoder": {"name": "/elsewhere/a", "digest": "0f", "dim": 8}}
    changed = _changed(prompts__encoder="/elsewhere/a")
    workdir.claim(tmp_path, changed._replace(prompts=moved))


def test_other_prompts_are_refused(tmp_path):
    workdir.claim(tmp_path, RUN)
    other = RUN.prompts | {"encoder": {"name": "a", "digest": "1f", "dim": 8}}
    with pytest.raises(InputError, match=r"trained with other prompts or another text encoder; "):
        workdir.claim(tmp_path, RUN._replace(prompts=other))


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/run/run\.json: cannot be written \(.+\); choose"):
        workdir.claim(tmp_path / "file" / "run", RUN)


def test_a_file_is_refused_as_a_workdir(tmp_path):
    (tmp_path / "report.html").write_text("")
    with pytest.raises(InputError, match=r"report\.html/run\.json is absent: no run was trained"):
        workdir.read(tmp_path / "report.html")


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.raises(InputError, match=r"lock: cannot be locked \(.+\); choose a --workdir whose"),
        workdir.hold(tmp_path),
    ):
        pass


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with (
        pytest.raises(
            InputError, match=r"lock: cannot be written \(.+\); choose another --workdir"
        ),
        workdir.hold(tmp_path),
    ):
        pass


def test_two_runs_cannot_lock_one_folder(tmp_path):
    with (
        workdir.hold(tmp_path),
        pytest.raises(InputError, match=r"another process is at work here; wait for it, or choose"),
        workdir.hold(tmp_path),
    ):
        pass
    with workdir.hold(tmp_path):  # the lock is free again
        pass


def test_an_untrained_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"run\.json is absent: no run was trained in this"):
        workdir.read(tmp_path)


def test_a_flipped_bit_never_changes_a_run_that_is_read(tmp_path):
    workdir.claim(tmp_path, RUN)
    path, run = tmp_path / "run.json", workdir.read(tmp_path)
    content, messages = path.read_bytes(), []
    for index in range(len(content)):
        flipped = bytearray(content)
        flipped[index] ^= 1 << index % 8
        path.write_bytes(flipped)
        try:
            assert workdir.read(tmp_path) == run
        except InputError as fault:
            messages.append(str(fault))
    assert len(messages) > len(content) / 2  # the other bytes are spaces
    for message in messages:
        assert message.startswith((f"{path}: cannot be used (", f"{path} is damaged ("))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("-1000.0", "-1010.0", "damaged or edited: its checksum differs"),
        ('"sha256"', '"sha257"', "no checksum: damaged, or written by an earlier version"),
    ],
)
def test_an_edited_file_and_one_without_a_checksum_are_refused(tmp_path, before, after, reason):
    workdir.claim(tmp_path, RUN)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace(before, after))
    for attempt in (lambda: workdir.read(tmp_path), lambda: workdir.claim(tmp_path, RUN)):
        with pytest.raises(InputError) as fault:
            attempt()
        assert str(fault.value) == (
            f"{path}: cannot be used ({reason}); restore it from a copy, undo the edit, or train "
            "in another workdir"
        )


@pytest.mark.parametrize("text", ["", '{"config": {', json.dumps(checksum.seal({"config": {}}))])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    for attempt in (lambda: workdir.read(tmp_path), lambda: workdir.claim(tmp_path, RUN)):
        with pytest.raises(InputError, match=r"run\.json is damaged \(.+\); restore it from a"):
            attempt()
