"""A network that fools another one in one pass: it draws the change of an image for any target.

    (B,H,W,C) ─ 7x7 ─ 3x3 /2 ─ 3x3 /2 ─ 3 residual blocks ─ x2 ─ x2 ─ 7x7 ─ tanh ─ blur ─ x eps
        │         │       │                  │
    condition ────┴───────┴──────────────────┘   a vector of the wanted class, everywhere

It is trained on one network, which stays as it is, to have the wanted class answered at all counted
pixels; a class is drawn for each image. What it learned from one network may fool others, which it
has never seen: it needs neither their parameters nor gradients when it is used.

Source: Fang et al., CLIP-Guided Generative Networks for Transferable Targeted Adversarial Attacks,
ECCV 2024, and its code (github.com/ffhibnese/CGNC_Targeted_Adversarial_Attacks), of which the form
was read; not checked against its numbers. There, conditions are CLIP's features of "a photo of a
{class}"; here, of the rows of a file or, without one, an embedding of each class, which is learned.

Differences: three residual blocks in place of six; group normalisation in place of batch
statistics; no attention within the image. Its cross-attention has a single token of text, whose
weight is always 1, so here the projected condition is added. Cross-entropy is that of pixels, of
the images of the run's training with the run's own augmentation, in place of CGNC's three views.
CGNC's second stage (tuning for one class, under masks) is left out.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.evaluation.robustness.attack import logits_of, nll, wanted_classes
from jaxseg.pipeline.windows import training_batches
from jaxseg.run.measured import counted_pixels
from jaxseg.scenes.scene import Batch
from jaxseg.transforms.transform import augment, preprocess
from jaxseg.weights import numpy_file, safetensors_file

Tree = Any  # pytrees of arrays have no useful type

Conditions = NDArray[np.float32]
"""(K, D): a row for each class."""


@dataclasses.dataclass(frozen=True)
class Generation:
    """How a generator is trained.

    Attributes:
        steps: Updates; 0 = no generator.
        epsilon: Radius of the ball that it is trained with; it can be used with any.
        features: Channels after its first layer.
        learning_rate: Adam's, with its first moment's 0.5 as in CGNC.
    """

    steps: int = 0
    epsilon: float = 0.3
    features: int = 16
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        if self.steps < 0 or not 0 < self.epsilon < math.inf:
            raise UserError(
                f"A generator of {self.steps} steps in a ball of {self.epsilon}: give 0 steps or "
                "more, and a radius above 0."
            )


class Generator(nn.Module):
    """(B, H, W, C) input of a network and (B, D) conditions -> (B, H, W, C) change, -1..1.

    Attributes:
        bands: C.
        features: Channels after the first layer.
        condition: Channels of the projected condition.
    """

    bands: int
    features: int = 16
    condition: int = 16

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array) -> jax.Array:
        """See the class; any H and W."""
        height, width = image.shape[1:3]
        code = nn.Dense(self.condition, use_bias=False, name="projected")(condition)[:, None, None]

        def with_code(x: jax.Array) -> jax.Array:
            return jnp.concatenate((x, jnp.broadcast_to(code, (*x.shape[:3], code.shape[-1]))), -1)

        def layer(x: jax.Array, features: int, kernel: int = 3, stride: int = 1) -> jax.Array:
            x = nn.Conv(features, (kernel, kernel), (stride, stride), use_bias=False)(x)
            return nn.relu(nn.GroupNorm(num_groups=4)(x))

        x = layer(with_code(image), self.features, 7)
        x = layer(with_code(x), 2 * self.features, 3, 2)  # (B, H/2, W/2, 2F)
        x = layer(with_code(x), 4 * self.features, 3, 2)  # (B, H/4, W/4, 4F)
        for _ in range(3):
            inner = layer(x, 4 * self.features)
            inner = nn.GroupNorm(num_groups=4)(nn.Conv(4 * self.features, (3, 3))(inner))
            x = x + inner + nn.Dense(4 * self.features)(condition)[:, None, None]
        for features in (2 * self.features, self.features):
            x = layer(jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), features)
        change = nn.tanh(nn.Conv(self.bands, (7, 7))(x[:, :height, :width]))
        return _blurred(change)


def text_conditions(path: Path, classes: Sequence[str]) -> Conditions:
    """The features of each class's text, (K, D), from a file.

    Args:
        path: A .npz or .safetensors file with a vector under the name of each class, or with one
            array of K rows, in the order of the classes.
        classes: The K names.

    Raises:
        UserError: The file cannot be read or holds neither.
    """
    try:
        if path.suffix == ".safetensors":
            tensors, _ = safetensors_file.read(path)
        else:
            tensors = numpy_file.read(path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} is not a .npz or .safetensors file ({error}).") from error
    if set(classes) <= set(tensors):
        rows = [np.asarray(tensors[name], np.float32).reshape(-1) for name in classes]
    else:
        rows = list(np.asarray(next(iter(tensors.values())), np.float32)) if tensors else []
    if len(rows) != len(classes) or len({row.shape for row in rows}) != 1 or rows[0].ndim != 1:
        raise UserError(
            f"{path} holds {', '.join(f'{n} {t.shape}' for n, t in tensors.items()) or 'nothing'}: "
            f"give a vector for each of {', '.join(classes)}, or one array of {len(classes)} rows."
        )
    found = np.stack(rows)
    if not np.isfinite(found).all():
        raise UserError(f"{path} holds numbers that are not finite.")
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def embedded(classes: Sequence[str]) -> Conditions:
    """Conditions without text: rows of the identity, whose projections are learned embeddings."""
    return np.eye(len(classes), dtype=np.float32)


def trained(
    config: Config,
    variables: Tree,
    mesh: Mesh,
    conditions: Conditions,
    how: Generation,
    seed: int = 0,
) -> Tree:
    """The parameters of a generator that was trained on a run's training split.

    Args:
        config: Of the run.
        variables: Of the run's network, which stays as it is.
        mesh: Where to compute.
        conditions: A row for each class.
        how: How long, and with which radius.
        seed: Of parameters, windows, targets and augmentation.
    """
    model, answer = Generator(bands_of(config), how.features), logits_of(config, mesh)
    tx = optax.adam(how.learning_rate, b1=0.5)
    rows = jnp.asarray(conditions)

    def objective(params: Tree, variables: Tree, batch: Batch, target: jax.Array) -> jax.Array:
        changed = altered(model, params, batch, rows[target], jnp.float32(how.epsilon))
        logits = answer(sharding.gathered(mesh, variables), changed["image"])
        counted = counted_pixels(batch)
        losses = nll(logits, wanted_classes(batch, target[:, None, None]))
        return jnp.where(counted, losses, 0.0).sum() / jnp.maximum(counted.sum(), 1)

    @jax.jit
    def step(
        params: Tree, moments: Tree, variables: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Tree, Tree]:
        augment_key, target_key = jax.random.split(key)
        image = preprocess(batch["image"], batch["valid"], config.preprocess)
        batch = augment(augment_key, batch | {"image": image}, config.augment)
        target = jax.random.randint(target_key, batch["label"].shape[:1], 0, len(conditions))
        slope = jax.grad(objective)(params, variables, batch, target)
        updates, moments = tx.update(slope, moments, params)
        return optax.apply_updates(params, updates), moments

    key = jax.random.key(seed)
    shape = (1, 16, 16, model.bands)
    params: Any = jax.jit(model.init)(key, jnp.zeros(shape), rows[:1])
    moments = tx.init(params)
    for number, batch in enumerate(_batches(config, mesh, how.steps, seed)):
        key_of_step = jax.random.fold_in(key, number)
        params, moments = step(params, moments, variables, batch, key_of_step)
    return params


def altered(
    model: Generator, params: Tree, batch: Batch, conditions: jax.Array, epsilon: jax.Array
) -> Batch:
    """The batch with the generator's change of its image, which stays in the ball.

    Args:
        model: The generator.
        params: Its parameters.
        batch: `image` is the input of a network.
        conditions: (B, D) a row for each image.
        epsilon: () radius of the ball.
    """
    change: Any = model.apply(params, batch["image"], conditions)
    mask = batch["valid"][..., None]
    return batch | {"image": batch["image"] + jnp.where(mask, epsilon * change, 0.0)}


def _batches(config: Config, mesh: Mesh, steps: int, seed: int) -> Iterable[Batch]:
    data = config.data
    positions = sharding.local_positions(mesh, data.batch_size)
    every = training_batches(data, seed=seed, positions=positions, first=0, last=steps)
    return (sharding.place_batch(mesh, batch) for batch in every)


def bands_of(config: Config) -> int:
    """Number of bands of the network's input."""
    bands = len(config.data.source.sensor.bands)
    raw = jax.ShapeDtypeStruct((1, 64, 64, bands), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, 64, 64), jnp.bool)
    image = jax.eval_shape(lambda x, m: preprocess(x, m, config.preprocess), raw, mask)
    return int(image.shape[-1])


def _blurred(change: jax.Array) -> jax.Array:
    """A Gaussian of standard deviation 1 over 3 x 3 pixels; edges are repeated."""
    weights = np.exp(-0.5 * np.arange(-1, 2) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        edges = [(0, 0)] * 4
        edges[axis] = (1, 1)
        padded = jnp.pad(change, edges, mode="edge")
        length = change.shape[axis]
        parts = [
            float(weight) * jax.lax.slice_in_dim(padded, start, start + length, axis=axis)
            for start, weight in enumerate(weights)
        ]
        change = parts[0] + parts[1] + parts[2]
    return change
