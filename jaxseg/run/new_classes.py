"""How a run begins that gives more classes to the network of a finished one.

The equations are in `jaxseg.weights.new_classes`; here are the run that is opened, what is refused,
and the pre-tuning: a loop over batches that trains nothing but the mixture of old classes which
makes the new ones. It is a function of the config, and part of the first state: a run that is
killed in it begins it again.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxseg import config_text, sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.wrapped import refuse_other_sensor
from jaxseg.errors import UserError
from jaxseg.losses.distillation import valid_on_grid
from jaxseg.losses.incremental import unbiased_cross_entropy
from jaxseg.losses.loss import over
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import checkpoint, fitting
from jaxseg.run.measured import counted_pixels
from jaxseg.run.program import on_devices
from jaxseg.run.step import RAW, TrainState, inference_variables
from jaxseg.scenes.scene import Batch
from jaxseg.transforms.transform import augment, preprocess
from jaxseg.weights import new_classes
from jaxseg.weights.new_classes import Mixture

Tree = Any  # pytrees of arrays have no useful type


def with_old_radiometry(config: Config, code: Code) -> Config:
    """The config whose open radiometry is that of the run whose classes it extends, if any.

    Raises:
        UserError: That run cannot be read.
    """
    if config.incremental.run is None:
        return config
    old = checkpoint.config_of(Path(config.incremental.run), code).preprocess
    return dataclasses.replace(config, preprocess=fitting.as_before(config.preprocess, old))


def grown(config: Config, mesh: Mesh, code: Code, like: TrainState) -> tuple[Tree, Tree, str]:
    """Parameters and batch statistics of the old network with the new classes, and their origin.

    Args:
        config: The run, completed.
        mesh: Where batches are placed.
        code: Where classes of the old run may be taken from.
        like: A state of the new network.

    Raises:
        UserError: The old run does not fit, or a new class does not occur.
    """
    settings = config.incremental
    old, state = checkpoint.reopen(Path(str(settings.run)), config.mesh, code=code)
    _refuse_unlike(config, old)
    few, many = len(old.data.source.classes), len(config.data.source.classes)
    variables = inference_variables(state)
    params = new_classes.grown(variables["params"], like.params, classes=(few, many))
    origin = f"from the run {settings.run}, {many - few} new class(es)"
    if settings.pretuning:
        before = variables | {"params": params}
        params, lost = _pretuned(config, mesh, before, few)
        origin += f", pre-tuned for {settings.pretuning} steps (loss {lost[0]:.3f} to {lost[1]:.3f}"
        origin += ", means of the first and the last tenth)"
    return params, variables["batch_stats"], origin


def _refuse_unlike(config: Config, old: Config) -> None:
    """Refuses a run that cannot follow the old one.

    Raises:
        UserError: Classes, network, radiometry or origin do not fit; the message names them.
        SensorError: The images are not those that the old network was trained on.
    """
    run = config.incremental.run
    theirs, ours = old.data.source.classes, config.data.source.classes
    if ours[: len(theirs)] != theirs or len(ours) == len(theirs):
        raise UserError(
            f"The old run {run} has the classes {', '.join(theirs)}; this run has "
            f"{', '.join(ours)}. It must have these first, in the same order, and new ones after "
            "them: jaxseg.datasets.Stage makes such a source."
        )
    if config.init_from is not None or config.pretrained.given:
        raise UserError(
            "--config.incremental.run gives all weights: leave --config.init-from and "
            "--config.pretrained out."
        )
    model = old.model.clone(num_classes=len(ours))
    if model != config.model:
        raise UserError(
            f"The old run {run} has the network {config_text.shown_briefly(old.model)}, this run "
            f"{config_text.shown_briefly(config.model)}: they may differ in the number of classes "
            "alone."
        )
    if old.preprocess != config.preprocess:
        raise UserError(
            f"The old run {run} has another radiometry (--config.preprocess): {old.preprocess}. "
            "Give the same."
        )
    refuse_other_sensor(old.sensor, config.data.source, config.sensor.typical, "The source")


def _pretuned(
    config: Config, mesh: Mesh, variables: Tree, old: int
) -> tuple[Tree, tuple[float, float]]:
    """The parameters with pre-tuned new classes, and the loss at the beginning and at the end.

    Args:
        config: The run.
        mesh: Where batches are placed.
        variables: Of the grown network, whose new classes are the background.
        old: K.

    Raises:
        UserError: The classifier is not a convolution of 1 x 1 pixel, or a new class does not
            occur in the batches.
    """
    settings = config.incremental
    kernel, bias = _classifier(variables["params"], settings.layer)
    wide = kernel.shape  # (1, 1, D, K + N)
    columns = kernel.reshape(wide[-2:])[:, :old]  # (D, K)
    new = wide[-1] - old

    def batches() -> Any:  # noqa: ANN401  an iterator
        return on_devices(
            pipeline.training_batches(
                config.data,
                seed=config.seed,
                positions=sharding.local_positions(mesh, config.data.batch_size),
                first=0,
                last=settings.pretuning,
            ),
            mesh,
        )

    if settings.importance:
        sums, counts = jnp.zeros((new, old, wide[-2])), jnp.zeros(new)
        look = _look(config, mesh, old)
        for batch in batches():
            more = look(variables, columns, batch)
            sums, counts = sums + more[0], counts + more[1]
        for name, count in zip(config.data.source.classes[old:], counts, strict=True):
            if not count:
                raise UserError(
                    f"The new class {name!r} does not occur in {settings.pretuning} batches of the "
                    "training split: raise --config.incremental.pretuning, or look at its labels."
                )
        mixture = new_classes.beginning(over(sums, counts[:, None, None]), bias)
    else:
        key = jax.random.key(config.seed)
        mixture = new_classes.random_beginning(key, new, columns, bias)
    rate = optax.polynomial_schedule(settings.learning_rate, 0.0, 0.9, settings.pretuning)
    tx = optax.sgd(rate, momentum=0.9, nesterov=True)
    moments, losses = tx.init(mixture), []
    tune = _tuning_step(config, mesh, old, columns, bias, tx)
    for number, batch in enumerate(batches()):
        mixture, moments, loss = tune(variables, mixture, moments, jnp.int32(number), batch)
        losses.append(loss)
    found, biases = mixture.finished(columns, bias[:old])
    params = _with_classifier(variables["params"], settings.layer, found.reshape(wide), biases)
    tenth = max(1, len(losses) // 10)
    means = [float(jnp.stack(part).mean()) for part in (losses[:tenth], losses[-tenth:])]
    return params, (means[0], means[1])


def _look(config: Config, mesh: Mesh, old: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The jitted sums of importance of a batch: (variables, kernel of old classes, batch)."""

    @jax.jit
    def look(variables: Tree, columns: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
        image = preprocess(batch["image"], batch["valid"], config.preprocess)
        read: list[jax.Array] = []

        def keep(call: Any, inputs: Any, named: Any, context: Any) -> Any:  # noqa: ANN401
            if (
                context.method_name == "__call__"
                and "/".join(context.module.path) == config.incremental.layer
            ):
                read.append(inputs[0].astype(jnp.float32))
            return call(*inputs, **named)

        with normalised_by(config.norm), nn.intercept_methods(keep):
            logits: Any = config.model.apply(sharding.gathered(mesh, variables), image, train=False)
        features = read[0]  # (B, h, w, D)
        # Biases of the background and of new classes have been lowered together: with their sum
        # as the background's logit, these are the probabilities of the old network.
        either = jnp.concatenate((logits[..., :1], logits[..., old:]), -1)
        background = jax.nn.logsumexp(either, -1, keepdims=True)
        probabilities = jax.nn.softmax(jnp.concatenate((background, logits[..., 1:old]), -1))
        counted = counted_pixels(batch)
        label, seen = (valid_on_grid(x, features) for x in (batch["label"], counted))
        sampled = valid_on_grid(probabilities, features)
        return new_classes.importance_sums(
            features, sampled, label.astype(jnp.int32), seen, columns, logits.shape[-1] - old
        )

    return look


def _tuning_step(
    config: Config,
    mesh: Mesh,
    old: int,
    columns: jax.Array,
    bias: jax.Array,
    tx: optax.GradientTransformation,
) -> Callable[..., tuple[Mixture, Any, jax.Array]]:
    """The jitted step of the pre-tuning: (variables, mixture, moments, number, batch)."""
    layer = config.incremental.layer

    @jax.jit
    def step(
        variables: Tree, mixture: Mixture, moments: Tree, number: jax.Array, batch: Batch
    ) -> tuple[Mixture, Any, jax.Array]:
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        batch = augment(jax.random.fold_in(key, RAW), batch, config.augment_raw)
        image = preprocess(batch["image"], batch["valid"], config.preprocess)
        batch = augment(key, batch | {"image": image}, config.augment)

        whole = sharding.gathered(mesh, variables)

        def lost(mixture: Mixture) -> jax.Array:
            kernel = mixture.kernel(columns)[None, None]
            biases = jnp.concatenate((bias[:old], mixture.bias))
            params = _with_classifier(whole["params"], layer, kernel, biases)
            with normalised_by(config.norm):
                logits: Any = config.model.apply(
                    whole | {"params": params}, batch["image"], train=False
                )
            return unbiased_cross_entropy(logits, batch, counted_pixels(batch), old=old)

        loss, gradient = jax.value_and_grad(lost)(mixture)
        updates, moments = tx.update(gradient, moments, mixture)
        return optax.apply_updates(mixture, updates), moments, loss

    return step


def _classifier(params: Tree, layer: str) -> tuple[jax.Array, jax.Array]:
    """Kernel (1, 1, D, K + N) and biases (K + N,) of the classifier.

    Raises:
        UserError: There is no such layer, or it is no convolution of 1 x 1 pixel with biases.
    """
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    kernel, bias = flat.get(f"{layer}/kernel"), flat.get(f"{layer}/bias")
    if kernel is None or bias is None or kernel.shape[:-2] != (1, 1):
        shapes = {name: tuple(leaf.shape) for name, leaf in flat.items() if name.startswith(layer)}
        raise UserError(
            f"The classifier of a pre-tuning has to be a convolution of 1 x 1 pixel with biases; "
            f"--config.incremental.layer {layer} has {shapes or 'no parameters'}. Name another "
            "layer, or give --config.incremental.pretuning 0."
        )
    return kernel, bias


def _with_classifier(params: Tree, layer: str, kernel: jax.Array, bias: jax.Array) -> Tree:
    """The parameters with another classifier."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    flat |= {f"{layer}/kernel": kernel, f"{layer}/bias": bias}
    return flax.traverse_util.unflatten_dict(flat, sep="/")
