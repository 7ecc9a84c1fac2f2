"""The notebook as a reader runs it: from top to bottom, in a kernel and a workdir of its own."""

import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import matplotlib
import ml_collections
import nbclient
import nbformat
import numpy as np
import pytest

from prosona_jax.experiments import build, inputs, predictions, stages
from prosona_jax.report import charts
from prosona_jax.runtime import workdir
from prosona_jax.text import encoder as text_encoder

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "latent_interpolation.ipynb"
FIGURES = ("image", "prompts", "readers", "prior", "plane", "grid")  # ids of the cells that draw
FASTER = {  # of what the reader trains
    "STEPS = 400": "STEPS = 100",
    "config.model.channels = (8, 16, 32, 64)": (
        'config.model.channels, config.prompts.path = (4, 8), "tests/prompts.yaml"'
    ),
}
KEPT = (
    *("prompt_stops", "prompt_areas", "reader_stops", "reader_areas", "prior_stops", "prior_areas"),
    *("style_stops", "grid", "places", "SENTENCES", "POINTS", "NOTE"),
)


@pytest.fixture(scope="module")
def notebook():
    """What is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def walked(notebook, tmp_path_factory):
    """The executed notebook, its workdir, and what its variables hold, by name."""
    folder = tmp_path_factory.mktemp("notebook")
    run, kept = folder / "run", folder / "kept.npz"
    executed = nbformat.from_dict(notebook)
    (cell,) = (cell for cell in executed.cells if cell.id == "workdir")
    for written, faster in {**FASTER, '"runs/notebook"': repr(str(run))}.items():
        assert written in cell.source
        cell.source = cell.source.replace(written, faster)
    values = ", ".join(f"{name}={name}" for name in KEPT)
    last = f"np.savez({str(kept)!r}, record_id=record.record_id, {values})"
    executed.cells.append(nbformat.v4.new_code_cell(last))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PROSONA_WORKDIR", raising=False)
        patch.setenv("HOME", str(folder))  # of the prepared data, and of what IPython writes
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        patch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")  # as a reader has
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # or it would look for fonts anew
        # In another folder than the repository's, as Jupyter starts kernels beside notebooks.
        nbclient.NotebookClient(executed, timeout=300).execute(cwd=str(folder))
    with np.load(kept) as arrays:
        return executed, run, dict(arrays)


@pytest.fixture(scope="module")
def model(walked):
    """The notebook's run, read back here: config, both stages, data, and the record's position."""
    _, folder, kept = walked
    run = workdir.read(folder)
    config = ml_collections.ConfigDict(run.config)
    config.data.cache_dir = str(folder.parent / ".cache" / "prosona_jax")
    data = inputs.load_data(config, needed=("test",))
    shape = {"channels": run.channels, "raters": run.raters}
    _, params = stages.read_stage_one(config, folder / "stage_one", **shape)
    second = stages.read_stage_two(config, folder / "stage_two", run.prompts, **shape)
    position = data.dataset.record_ids.index(str(kept["record_id"]))
    return config, params, second, data, np.array([position])


def _areas(probs):
    return (np.asarray(probs) > 0.5).sum((-2, -1))


def _assert_same_areas(walked, drawn):
    # Compiled in another way, so that a pixel on the brink may fall to the other side.
    np.testing.assert_allclose(walked, drawn, atol=1)


def test_the_committed_notebook_is_valid_and_carries_no_outputs(notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_every_figure_is_drawn_and_says_that_its_ct_is_simulated(walked):
    executed, _, kept = walked
    drawn = [
        cell.id
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert drawn == list(FIGURES)
    assert str(kept["NOTE"]).startswith(inputs.SIMULATED)


def test_the_walk_between_prompts_stops_where_predict_draws(walked, model):
    _, _, kept = walked
    config, params, second, data, (position,) = model
    text = text_encoder.load(config.prompts.encoder).embed([str(s) for s in kept["SENTENCES"]])
    parts = jax.device_get((params, second.params, text))
    image = jnp.asarray(data.dataset[position].image[None])
    stage_one, stage_two, text = parts
    encoded = build.encode_image_step(config)(stage_one, image)
    query = jax.jit(build.query_step(config))(stage_two, text, encoded[0])
    root = jax.random.key(config.seed)
    probs = jax.jit(build.draw_step(config))(stage_one, encoded, query, root)[0]
    points, stops = int(kept["POINTS"]), len(text)
    assert len(kept["prompt_areas"]) == (stops - 1) * points + 1
    _assert_same_areas(kept["prompt_areas"][::points], _areas(probs))
    assert np.ptp(kept["prompt_stops"], axis=0).max() > 0.01


def test_styles_and_readers_lie_where_the_report_sees_them(walked, model):
    _, _, kept = walked
    ((_, walk),) = predictions.walk_between_styles(*model, order=range(4), points=2, samples=1)
    np.testing.assert_allclose(kept["style_stops"], walk.styles[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(kept["reader_stops"], walk.raters[0], rtol=1e-3, atol=1e-3)


def test_what_is_drawn_on_the_way_and_on_the_map_is_what_the_model_decodes(walked, model):
    """A straight line in z is one in (z - mu) / sigma."""
    _, _, kept = walked
    config, params, _, data, (position,) = model
    network = build.evaluated_model(config)
    params, image = jax.device_get(params), jnp.asarray(data.dataset[position].image[None])
    prior = network.apply(params, image, method="prior")
    features = network.apply(params, image, method="features")

    def decoded(offsets):
        z = prior.mu[:, None] + jnp.exp(prior.log_sigma)[:, None] * offsets[None]
        return jax.nn.sigmoid(network.apply(params, features, z, method="decode"))[0]

    points = int(kept["POINTS"])
    for name in ("reader", "prior"):
        stops = jnp.asarray(kept[f"{name}_stops"], jnp.float32)
        areas = kept[f"{name}_areas"]
        _assert_same_areas(areas[::points], _areas(decoded(stops)))
        halfway = (stops[1:] + stops[:-1]) / 2
        _assert_same_areas(areas[points // 2 :: points], _areas(decoded(halfway)))
    places = jnp.asarray(kept["places"].reshape(-1, stops.shape[1]), jnp.float32)
    np.testing.assert_allclose(kept["grid"], decoded(places), atol=1e-3)


def test_a_reader_who_is_missing_has_no_ring_on_the_plane(notebook):
    (cell,) = (cell for cell in notebook.cells if cell.id == "plane")
    style_stops, reader_stops = np.random.default_rng(0).normal(size=(2, 4, 3))
    shown = []
    names = {
        "np": np, "charts": charts, "show": shown.append, "place_of": lambda text: text,
        "second": types.SimpleNamespace(text={"train": style_stops[:, None]}),
        "record": types.SimpleNamespace(rater_valid=np.array([True, False, True, True])),
        "reader_stops": reader_stops[:3], "samples": np.zeros((5, 3)), "styles": list("abcd"),
        "prompt_stops": style_stops, "through": lambda stops: stops,
    }  # fmt: skip
    exec(cell.source, names)
    ((figure,), plane) = shown, names["plane"]
    rings = [ring.get_offsets().compressed() for ring in figure.axes[0].collections[1::2]]
    expected = [*reader_stops[:3][:, plane]]
    expected.insert(1, [])
    for ring, place in zip(rings, expected, strict=True):
        np.testing.assert_array_equal(ring, place)


@pytest.fixture
def colab(notebook, monkeypatch):
    """Runs the first code cell as in Colab, and returns the commands that it gives."""
    source = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    commands = []

    def install(repository, device):
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        monkeypatch.setattr("glob.glob", lambda pattern: [device] if device in pattern else [])
        monkeypatch.setattr("subprocess.run", lambda command, **_: commands.append(command))
        monkeypatch.setattr(sys, "path", list(sys.path))
        exec(source.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}"), {})
        return [" ".join(command) for command in commands]

    return install


@pytest.mark.parametrize(
    ("device", "extra"), [("none", "."), ("nvidia", ".[cuda]"), ("accel", ".[tpu]")]
)
def test_colab_gets_the_repository_and_what_its_accelerator_needs(colab, device, extra):
    clone, package, wheels = colab("https://example.org/copy.git", device)
    assert clone == "git clone --depth=1 https://example.org/copy.git /content/prosona_jax"
    assert package.endswith(f"-m pip install --quiet -e {extra}")
    assert wheels.endswith("--no-deps -r requirements-nodeps.txt")
    assert sys.path[0] == "/content/prosona_jax"


def test_colab_is_told_to_name_a_repository(colab):
    with pytest.raises(SystemExit, match="Set REPOSITORY above"):
        colab("", "none")


def test_elsewhere_the_first_cell_does_nothing(notebook, monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("nothing is to be run"))
    exec(next(cell.source for cell in notebook.cells if cell.cell_type == "code"), {})
