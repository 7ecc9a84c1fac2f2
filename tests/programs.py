"""The programs as a user runs them: processes, on an npz of small made-up discs."""

import os
import subprocess
import sys
import time

import numpy as np

from configs import lidc

SIZE = 40  # of the discs' images, pixels; the model sees 32
PATIENTS = [f"p{i:02d}" for i in range(24)]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FEW_PROMPTS = "tests/prompts.yaml"  # a thousand take longer than all else


def write_discs(path, patients, seed, *, channels=1, radii=(4, 9), **fields):
    """Writes a record per patient: four raters who see one disc with different radii."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    count = len(patients)
    centre = generator.uniform(15, 25, (2, count, 1, 1, 1))
    distance = np.hypot(rows - centre[0], columns - centre[1])
    masks = (distance < generator.uniform(*radii, (count, 4, 1, 1))).astype(np.uint8)
    image = masks.mean(axis=1) + generator.normal(0, 0.1, (count, SIZE, SIZE))
    np.savez(
        path,
        image=np.repeat(image[..., None], channels, axis=-1).astype(np.float32),
        masks=masks,
        patient_id=patients,
        record_id=[f"{patient}-nodule" for patient in patients],
        intensity_unit="arbitrary",
        **fields,
    )


def discs(folder):
    """Returns the fields that name discs.npz."""
    return {
        "data.source": "npz",
        "data.path": str(folder / "discs.npz"),
        "data.cache_dir": str(folder / "cache"),
    }


def configure(folder, fields):
    """Returns the smoke config on discs.npz with other fields changed."""
    config = lidc.get_config("smoke")
    config.update_from_flattened_dict(discs(folder) | fields)
    return config


def start(program, folder, workdir, fields, *arguments, devices=2, **environment):
    """Starts a program with that config; its output goes where `end` finds it."""
    command = [
        sys.executable, "-m", f"prosona_jax.{program}",
        "--config=configs/lidc.py:smoke",
        f"--workdir={folder / workdir}",
        *(f"--config.{name}={value}" for name, value in (discs(folder) | fields).items()),
    ]  # fmt: skip
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        **environment,
    }
    return subprocess.Popen(
        [*command, *arguments],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process, status=0):
    """Waits for the end and returns what the program said on stderr."""
    error = process.communicate(timeout=900)[1]
    assert process.returncode == status, error
    return error


def wait_until(process, happened):
    """Waits while the process runs; it may not end before."""
    deadline = time.monotonic() + 600
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
