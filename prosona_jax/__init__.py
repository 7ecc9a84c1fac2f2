"""Prompt-guided personalised segmentation of multi-rater images, in JAX and Flax.

Importing the package imports nothing heavy, so that data pipelines can use
:mod:`prosona_jax.types` without JAX.
"""

__version__ = "0.1.0"
