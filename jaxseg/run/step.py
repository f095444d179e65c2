"""The pure functions that are jitted: a state and a batch in, a state and numbers out.

The placements of the arguments determine what is sharded; nothing here names a device. Batch
statistics and losses are sums over the global batch because the arrays are global.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxseg import optimizer as optimizers
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.losses import distillation
from jaxseg.losses.distillation import Teacher
from jaxseg.losses.loss import InParts, captures_of, order_matters, promises
from jaxseg.losses.pixels import MeanOfPixels
from jaxseg.metrics import calibration, thresholds
from jaxseg.metrics.scores import confusion_matrix
from jaxseg.models.parts import blocks, enlarged
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.models.parts.platforms import compiled_for
from jaxseg.run import soundness
from jaxseg.run.measured import counted_pixels, in_slices, measured, measured_by_image, shares_of
from jaxseg.run.normalisations import with_group_size
from jaxseg.scenes.scene import Batch
from jaxseg.transforms.transform import augment, preprocess

Metrics = dict[str, jax.Array]
Tree = Any  # pytrees of arrays have no useful type


SOWN = ("aux_logits", "class_logits", "second_logits", "regularizers")
"""Collections that networks sow into in training."""

RAW = 1_000_000
"""Makes the key of `augment_raw` different from those of the steps of `augment`."""


class TrainState(flax.struct.PyTreeNode):
    """Everything that a run carries from step to step: arrays only.

    Attributes:
        step: () int32, the number of updates made.
        params: Trainable parameters, float32.
        batch_stats: Running statistics of the normalisations, float32.
        opt_state: The optimizer's moments; parts that are never trained have none.
        ema: Moving average of `params`; None if the optimizer has no `ema`.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any


def init_state(config: Config, bands: int, mesh: Mesh) -> TrainState:
    """A new state, every leaf created directly on its place in the mesh.

    The values depend only on the seed, not on the mesh.

    Args:
        config: The run.
        bands: Number of bands of the source's images.
        mesh: Where the state is placed.
    """
    create, seed = _creator(config, bands), np.uint32(config.seed)
    placements = sharding.state_shardings(mesh, jax.eval_shape(create, seed))
    state: TrainState = jax.jit(create, out_shardings=placements)(seed)
    return state


def abstract_state(config: Config, bands: int, mesh: Mesh) -> TrainState:
    """Shapes, dtypes and placements of `init_state`'s result, without computing anything."""
    abstract = jax.eval_shape(_creator(config, bands), np.uint32(config.seed))
    placed: TrainState = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        abstract,
        sharding.state_shardings(mesh, abstract),
    )
    return placed


def _creator(config: Config, bands: int) -> Callable[[ArrayLike], TrainState]:
    size = min(
        config.data.crop, 64
    )  # the shapes of parameters do not depend on the size of the image
    raw = jax.ShapeDtypeStruct((1, size, size, bands), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, size, size), jnp.bool)
    image = jax.eval_shape(lambda x, m: preprocess(x, m, config.preprocess), raw, mask)
    tx = optimizers.make_optimizer(config.optimizer, config.num_steps)

    def create(seed: ArrayLike) -> TrainState:
        # `rbg` compiles to one instruction per leaf: half the time of threefry for a ResNet-50.
        key = jax.random.key(seed, impl="rbg")
        with normalised_by(config.norm):
            variables = config.model.init(
                {"params": key, "dropout": key}, jnp.zeros(image.shape), train=False
            )
        params = variables["params"]
        optimizers.check_parts(config.optimizer, params)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=tx.init(params),
            ema=None if config.optimizer.ema is None else params,
        )

    return create


def make_train_step(
    config: Config, mesh: Mesh, teacher: Teacher | None = None
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The training step `(state, batch[, teacher's variables], seed=...) -> (state, metrics)`.

    Augment raw, preprocess, augment, forward, losses, backward, update; before the forward pass, if
    the config has a teacher, its outputs for the side images, or for the same images. Losses find
    further entries in the batch: `progress` (), the completed share of the run; `second_logits` and
    `class_logits` if the network sows them; `features/PATH` of the layers that a loss captures; the
    teacher's outputs.

    Its metrics are the total `loss`, every `loss/NAME`, `grad_norm`, `learning_rate` (scalars,
    float32), `confusion` (K, K) int32 of the augmented batch, and what `soundness.largest` says of
    the new state. Scalars that a network sows into the collection `regularizers`, already weighted,
    are added to the loss; `loss/regularizers` is their sum. The parts of a loss are logged as
    `loss/NAME/PART`.
    """
    config = with_group_size(config, mesh)
    captures = captures_of(config.loss.values())
    tx = optimizers.make_optimizer(config.optimizer, config.num_steps)
    rate = optimizers.learning_rate(config.optimizer, config.num_steps)

    # Captured layers are compared as the network is written.
    platform = "" if captures else sharding.platform_of(mesh)
    blocks_fit = not any(map(order_matters, config.loss.values()))
    means = all(
        promises(loss, MeanOfPixels) and not isinstance(loss, InParts)
        for loss in config.loss.values()
    )

    def objective(
        step: jax.Array,
        params: Tree,
        batch_stats: Tree,
        batch: Batch,
        key: jax.Array,
        shares: Metrics,
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        params = optimizers.held(config.optimizer, params, step)
        still = optimizers.frozen_modules(config.optimizer, params)
        freed = optimizers.freed(config.optimizer, step)
        apply = functools.partial(
            config.model.apply,
            {"params": sharding.gathered(mesh, params), "batch_stats": batch_stats},
            batch["image"],
            train=True,
            mutable=["batch_stats", *SOWN, *(["intermediates"] if captures else [])],
            rngs={"dropout": key},
            **distillation.capturing(captures),
        )
        # Of a window without any data, all pixels are 0: they would be in every statistic.
        counted = batch["valid"].any((1, 2))
        space = mesh.shape["space"]
        with (
            compiled_for(platform, space),
            normalised_by(config.norm, counted, still, freed),
        ):
            if blocks_fit and blocks.answers_in_blocks(config.model, batch["image"]):
                logits, updates = apply(method="in_blocks")
                logits, batch = blocks.as_rows(logits), _in_blocks(batch)
                enlarge = None
            elif means and enlarged.answers_coarsely(config.model):
                logits, updates = apply(method="coarse")
                enlarge = config.model.enlarge
            else:
                logits, updates = apply()
                enlarge = None
        batch = batch | {"progress": step / config.num_steps}
        for name in ("second_logits", "class_logits"):
            if sown := jax.tree.leaves(updates.get(name, {})):
                batch[name] = sown[0]
        features = distillation.captured(updates, captures)
        batch |= {f"features/{layer}": feature for layer, feature in features.items()}
        answers = [logits, *jax.tree.leaves(updates.get("aux_logits", {}))]
        if enlarge is None:
            terms, confusion = measured(config, answers, batch, shares)
        else:
            devices = mesh.shape["data"] * mesh.shape["fsdp"]
            terms, confusion = measured_by_image(config, answers, batch, shares, enlarge, devices)
        total = sum(
            (loss.weight * terms[name] for name, loss in config.loss.items()), jnp.float32(0)
        )
        for number in range(len(answers) - 1):
            total += config.aux_weight * terms[f"aux{number}"]
        # Scalars that a network sows as `regularizers`, already weighted.
        if regularizers := jax.tree.leaves(updates.get("regularizers", {})):
            terms["regularizers"] = sum(regularizers, jnp.float32(0))
            total += terms["regularizers"]
        for name, loss in config.loss.items():
            if isinstance(loss, InParts):
                parts = loss.parts(logits, batch)
                terms |= {f"{name}/{part}": value for part, value in parts.items()}
        metrics = {f"loss/{name}": value for name, value in terms.items()} | {"loss": total}
        metrics["confusion"] = confusion
        return total, (updates.get("batch_stats", {}), metrics)

    def train_step(
        state: TrainState, batch: Batch, taught: Tree = None, *, seed: ArrayLike = config.seed
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        augment_key, dropout_key = jax.random.split(key)
        if config.augment_raw:
            # A separate key, so that the draws of the other two do not depend on this step.
            raw_key = jax.random.fold_in(augment_key, RAW)
            batch = augment(raw_key, batch, config.augment_raw)
        batch = prepared(config, batch)
        batch = distillation.without_side(batch) if teacher is None else teacher.seeing(batch)
        batch = augment(augment_key, batch, config.augment)
        batch = jax.lax.with_sharding_constraint(batch, sharding.batch_sharding(mesh))
        if teacher is not None:
            batch = teacher.answering(batch, sharding.gathered(mesh, taught))
        gradient = jax.grad(functools.partial(objective, state.step), has_aux=True)
        grads, (batch_stats, metrics) = _accumulated(config, gradient, state, batch, dropout_key)
        grads = jax.lax.with_sharding_constraint(grads, sharding.state_shardings(mesh, grads))
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if config.optimizer.ema is not None:
            # Smaller decay at the beginning, as the average would otherwise contain the random
            # initialization for thousands of steps.
            decay = jnp.minimum(config.optimizer.ema, (1.0 + state.step) / (10.0 + state.step))
            ema = optax.incremental_update(params, ema, 1.0 - decay)
            # The average of equal numbers, without its rounding.
            ema = optimizers.where_frozen(config.optimizer, state.step, params, ema)
        metrics |= {"grad_norm": optax.tree.norm(grads), "learning_rate": rate(state.step)}
        state = TrainState(state.step + 1, params, batch_stats, opt_state, ema)
        return state, metrics | soundness.largest(state)

    return train_step


def jit_train_step(
    config: Config, mesh: Mesh, abstract: TrainState, teacher: Teacher | None = None
) -> jax.stages.Wrapped:
    """`make_train_step`, jitted, with the state donated and its placements kept.

    State and batch have to be placed on the mesh. With a seed as an array, the same program serves
    all seeds of a config; without one, that of the config is a constant of it.

    Args:
        config: The run.
        mesh: Where state and batches are placed.
        abstract: The result of `abstract_state`.
        teacher: If given, its variables are a third argument.
    """
    placements = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    jitted: jax.stages.Wrapped = jax.jit(
        make_train_step(config, mesh, teacher),
        donate_argnums=0,
        out_shardings=(placements, sharding.replicated(mesh)),
    )
    return jitted


def make_eval_step(config: Config, mesh: Mesh) -> Callable[..., Metrics]:
    """The evaluation step `(variables, batch[, temperature]) -> results`.

    For the variables see `inference_variables`. Results: `confusion` (K, K) int32 of the whole
    batch, `prediction` (B, H, W) uint8, and `margins` (B, 3, K) int32 of each window's confusion
    matrix: diagonal, row sums (reference) and column sums (prediction). With a temperature,
    () float32, also the results of `calibration.measure`, and `sample_logits` and `sample_label`,
    see `thresholds.sample`.
    """
    logits_of = make_forward(config, mesh)

    def eval_step(variables: Tree, batch: Batch, temperature: jax.Array | None = None) -> Metrics:
        logits = logits_of(variables, batch)
        prediction = jnp.argmax(logits, -1)
        label, counted = batch["label"], counted_pixels(batch)
        each = jax.vmap(functools.partial(confusion_matrix, num_classes=logits.shape[-1]))
        confusions = each(prediction, label, counted)  # (B, K, K)
        margins = (jnp.diagonal(confusions, axis1=1, axis2=2), confusions.sum(2), confusions.sum(1))
        counts = {"confusion": confusions.sum(0), "margins": jnp.stack(margins, axis=1)}
        if temperature is not None:
            counts |= calibration.measure(logits, label, counted, temperature)
            sampled = thresholds.sample(logits, label, counted)
            counts |= dict(zip(("sample_logits", "sample_label"), sampled, strict=True))
        # Replicated, so that every process can fetch them.
        whole: Metrics = jax.lax.with_sharding_constraint(counts, sharding.replicated(mesh))
        return whole | {"prediction": prediction.astype(jnp.uint8)}

    return eval_step


def make_forward(config: Config, mesh: Mesh) -> Callable[[Tree, Batch], jax.Array]:
    """The forward pass of evaluation, `(variables, raw batch) -> (B, H, W, K) logits`."""

    def forward(variables: Tree, batch: Batch) -> jax.Array:
        batch = prepared(config, batch)
        variables = sharding.gathered(mesh, variables)
        placed = compiled_for(sharding.platform_of(mesh), mesh.shape["space"])
        with placed, normalised_by(config.norm):
            logits: Any = config.model.apply(variables, batch["image"], train=False)
        chex.assert_shape(logits, (*batch["label"].shape, None))
        answered: jax.Array = logits
        return answered

    return forward


def inference_variables(state: TrainState) -> dict[str, Tree]:
    """The variables for evaluation and prediction: the moving average if there is one."""
    params = state.params if state.ema is None else state.ema
    return {"params": params, "batch_stats": state.batch_stats}


def count_parameters(params: Tree) -> int:
    """Number of trainable parameters."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def prepared(config: Config, batch: Batch) -> Batch:
    """Checks the shapes of the batch and applies the radiometry."""
    size = batch["label"].shape
    chex.assert_shape(batch["image"], (*size, None))
    chex.assert_shape(batch["valid"], size)
    image = preprocess(batch["image"], batch["valid"], config.preprocess)
    return batch | {"image": image}


def _in_blocks(batch: Batch) -> Batch:
    """The maps of pixels in the order of `blocks.as_rows`; losses read no images."""
    size = batch["label"].shape
    maps = {name: array for name, array in batch.items() if array.shape == size}
    maps = {name: blocks.as_rows(blocks.by_blocks(array)) for name, array in maps.items()}
    # Else XLA rearranges what is computed from labels and masks, which is larger than they are.
    rearranged: Batch = jax.lax.optimization_barrier(maps)
    return rearranged


def _accumulated(
    config: Config,
    gradient: Callable[..., tuple[Any, tuple[Any, Metrics]]],
    state: TrainState,
    batch: Batch,
    key: jax.Array,
) -> tuple[Any, tuple[Any, Metrics]]:
    """Gradient over the slices of the batch, computed one by one to save memory."""
    parts = config.accumulate
    if parts == 1:
        return gradient(state.params, state.batch_stats, batch, key, {})

    def one(
        carry: tuple[Any, Any], inputs: tuple[jax.Array, Batch, Metrics]
    ) -> tuple[Any, Metrics]:
        total, batch_stats = carry
        number, piece, shares = inputs
        grads, (batch_stats, metrics) = gradient(
            state.params, batch_stats, piece, jax.random.fold_in(key, number), shares
        )
        return (jax.tree.map(jnp.add, total, grads), batch_stats), metrics

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    pieces = in_slices(batch, parts)
    shares = shares_of(config, pieces)
    (grads, batch_stats), metrics = jax.lax.scan(
        one, (zeros, state.batch_stats), (jnp.arange(parts), pieces, shares)
    )
    confusion = metrics.pop("confusion").sum(0)
    metrics = jax.tree.map(lambda values: values.mean(0), metrics) | {"confusion": confusion}
    return jax.tree.map(lambda leaf: leaf / parts, grads), (batch_stats, metrics)
