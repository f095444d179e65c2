"""Semantic segmentation of Earth observation in JAX/Flax, from a laptop to a TPU pod.

Letters of shapes, everywhere: B batch, H rows, W columns, C bands, K classes, F features; channels
last. This file imports nothing, so that the files that need no JAX load without it.
"""
