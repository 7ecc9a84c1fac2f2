"""Fixtures shared by all tests: where real data lies, and four fake CPU devices."""

import os
import pathlib

# Before JAX starts: meshes and pmap are tested on four devices, whatever the machine has.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=4"]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """Folder with the real multi-rater files; the test skips where there is none."""
    folder = pathlib.Path(os.environ.get("PROSONA_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set PROSONA_TEST_DATA to its place)")
    return folder
