"""Optical help at training time: a network that sees radar learns from one that sees more.

The teacher is a finished run on the side images of the same ground. It is applied once per batch,
its outputs enter the loss, and the trained network does not contain it:

    features        mean (F_S - F_T)^2                                    A
    attention       mean (Q_S / |Q_S| - Q_T / |Q_T|)^2, Q = sum_c F_c^2   A
    logits          tau^2 KL(softmax(z_T / tau) || softmax(z_S / tau))    A
    channels        tau^2 mean_k KL(softmax_i(z_T,k / tau) || softmax_i(z_S,k / tau))   A
    hallucination   mean (sigmoid(F_H) - sigmoid(F_T))^2                  B

F are outputs of named modules, with the same names in both networks unless `student` gives a prefix
for the student's. Pixels count where both sensors have data, features where the pixels of their
grid do. `logits` compares the classes of each pixel, `channels` the places of each class: softmax_i
is over the pixels of a window, and the mean is over its classes k.

Source: logits, Hinton, Vinyals, Dean 2015, arXiv:1503.02531, as Lopez-Paz et al. 2016,
arXiv:1511.03643, use it for privileged information; attention, Zagoruyko, Komodakis 2017,
arXiv:1612.03928; features, Romero et al. 2015, arXiv:1412.6550; channels, Shu et al., Channel-wise
Knowledge Distillation for Dense Prediction, ICCV 2021, arXiv:2011.13256, checked against the
formula of the authors' CriterionCWD (irfanICMLL/TorchDistiller), where factor 3 and tau 4 belong to
it; hallucination, Hoffman, Gupta, Darrell, CVPR 2016. Differences: the two networks share one
architecture, so features need no adapters, though `jaxseg.models.parts.aligned` has them; channels
are those of the logits alone, which are classes in both networks, while those of features have
another order in each; the weights and the combination of terms are our choice.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from jaxseg.errors import UserError
from jaxseg.losses.loss import OfTheWhole, check_between, over
from jaxseg.models.parts.normalisation import Normalisation, normalised_by
from jaxseg.scenes.scene import Batch

Tree = Any  # pytrees of arrays have no useful type
Features = dict[str, jax.Array]
"""Outputs (B, h, w, F) of modules by their path."""


@dataclasses.dataclass(frozen=True)
class Distillation(OfTheWhole):
    """The sum of the terms above, each times its factor; 0 leaves a term out.

    The batch holds the teacher's outputs, `teacher_logits` and `teacher/LAYER`, and the student's
    features, `features/LAYER`.

    Attributes:
        run: Folder of the teacher's run.
        layers: Paths of the teacher's modules whose outputs are matched, such as `bottleneck`.
        student: Prefix of the same modules in the student, such as `second/`.
        features: Factor of the squared difference.
        attention: Factor of the difference of attention maps.
        hallucination: Factor of the squared difference of sigmoids.
        logits: Factor of the divergence between the logits.
        channels: Factor of the divergence between the places of each class.
        temperature: tau, by which logits are divided.
        weight: Factor of the sum in the total loss.
    """

    run: str = dataclasses.field(metadata={"path": True})
    layers: tuple[str, ...] = ("bottleneck",)
    student: str = ""
    features: float = 0.0
    attention: float = 0.0
    hallucination: float = 0.0
    logits: float = 0.0
    channels: float = 0.0
    temperature: float = 2.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Rejects negative factors, and a sum without any term."""
        factors = {name: getattr(self, name) for name in ("features", "attention", "hallucination")}
        of_logits = {"logits": self.logits, "channels": self.channels}
        for name, value in (factors | of_logits).items():
            check_between(name, value, 0, float("inf"))
        check_between("temperature", self.temperature, 0, float("inf"), above=True)
        check_between("weight", self.weight, 0, float("inf"))
        if not any(factors.values()) and not any(of_logits.values()):
            raise UserError(
                "Distillation without any term: give one of features, attention, hallucination, "
                "logits and channels a factor above 0."
            )
        if any(factors.values()) and not self.layers:
            raise UserError("Distillation of features needs layers, such as bottleneck.")

    @property
    def captures(self) -> tuple[str, ...]:
        """The student's layers."""
        return tuple(self.student + layer for layer in self.layers)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class; uses all pixels where both sensors have data, labelled or not."""
        return self.total(self.parts(logits, batch))

    def total(self, parts: Mapping[str, jax.Array]) -> jax.Array:
        """The sum of the parts, each times its factor."""
        weighed = [getattr(self, name) * value for name, value in parts.items()]
        total: jax.Array = sum(weighed, jnp.float32(0))
        return total

    def parts(self, logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """The terms by name, each without its factor.

        Raises:
            UserError: Features of student and teacher differ in shape, but a term needs equal ones.
        """
        valid = batch["valid"] & batch["side_valid"]
        found: dict[str, list[jax.Array]] = {}
        for layer in self.layers:
            own = batch[f"features/{self.student}{layer}"]
            other = jax.lax.stop_gradient(batch[f"teacher/{layer}"])
            mask = valid_on_grid(valid, other)[..., None]
            if self.attention:
                distance = (_attention(own, mask) - _attention(other, mask)) ** 2
                found.setdefault("attention", []).append(distance.sum((1, 2, 3)).mean())
            if (self.features or self.hallucination) and own.shape != other.shape:
                raise UserError(
                    f"Layer {layer}: the student's features are {own.shape[1:]}, the teacher's "
                    f"{other.shape[1:]}. Give both networks the same widths, or match attention."
                )
            if self.features:
                found.setdefault("features", []).append(_mean((own - other) ** 2, mask))
            if self.hallucination:
                distance = (nn.sigmoid(own) - nn.sigmoid(other)) ** 2
                found.setdefault("hallucination", []).append(_mean(distance, mask))
        result = {name: sum(values, jnp.float32(0)) for name, values in found.items()}
        if self.logits:
            divergence = self._divergence(logits, batch, -1).sum(-1)
            result["logits"] = self.temperature**2 * _mean(divergence[..., None], valid[..., None])
        if self.channels:
            divergence = self._divergence(logits, batch, (1, 2), valid[..., None]).sum((1, 2))
            seen = valid.any((1, 2))[..., None]  # (B, 1)
            result["channels"] = self.temperature**2 * _mean(divergence, seen)
        return result

    def _divergence(
        self,
        logits: jax.Array,
        batch: Batch,
        axes: int | tuple[int, int],
        mask: jax.Array | bool = True,
    ) -> jax.Array:
        """(B, H, W, K), the terms of the divergence between softmaxes over these axes."""
        reference = jax.lax.stop_gradient(batch["teacher_logits"])
        # Finite, so that a window without any data has a gradient, which is 0.
        log_p, log_t = (
            jax.nn.log_softmax(jnp.where(mask, z / self.temperature, -1e30), axes)
            for z in (logits, reference)
        )
        return jnp.where(mask, jnp.exp(log_t) * (log_t - log_p), 0.0)


class Teacher(NamedTuple):
    """A finished network and its preprocessing.

    Attributes:
        layers: Paths of its modules whose outputs are needed.
        model: The network.
        preprocess: (B, H, W, C) raw side image and (B, H, W) validity -> the network's input.
        variables: Its parameters and batch statistics.
        norm: Which values its normalisations measure together.
        alike: Whether it sees the images of the network that it teaches, with its preprocessing,
            instead of side images.
    """

    layers: tuple[str, ...]
    model: nn.Module
    preprocess: Callable[[jax.Array, jax.Array], jax.Array]
    variables: Any
    norm: Normalisation = Normalisation()
    alike: bool = False

    def seeing(self, batch: Batch) -> Batch:
        """The batch with side images preprocessed for the teacher, or without any.

        Raises:
            UserError: The batch has no side images.
        """
        if self.alike:
            return without_side(batch)
        if "side" not in batch:
            raise UserError(
                "The config has a teacher, but its data have no side images. Give "
                "Paired(source=..., side=...) of jaxseg.datasets as --config.data.source."
            )
        return batch | {"side": self.preprocess(batch["side"], batch["side_valid"])}

    def answering(self, batch: Batch, variables: Tree) -> Batch:
        """The batch with the teacher's outputs, and without side images.

        Its variables are arguments of the jitted step, not constants within it.
        """
        with normalised_by(self.norm):
            logits, kept = self.model.apply(
                variables,
                batch["image" if self.alike else "side"],
                train=False,
                mutable=["intermediates"],
                **capturing(self.layers),
            )
        features = captured(kept, self.layers)
        rest = {name: array for name, array in batch.items() if name != "side"}
        answers = {f"teacher/{layer}": feature for layer, feature in features.items()}
        return rest | answers | {"teacher_logits": logits}


def without_side(batch: Batch) -> Batch:
    """The batch without side images, if nothing uses them."""
    return {name: array for name, array in batch.items() if name not in ("side", "side_valid")}


def distillation_of(losses: Iterable[object]) -> Distillation | None:
    """The distillation loss among `losses`, or None.

    Raises:
        UserError: There is more than one.
    """
    found = [loss for loss in losses if isinstance(loss, Distillation)]
    if len(found) > 1:
        raise UserError("A config holds several Distillation losses: a run has one teacher.")
    return found[0] if found else None


def capturing(layers: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of `apply` with which Linen keeps the outputs of the modules at these paths."""
    if not layers:
        return {}
    return {
        "capture_intermediates": lambda module, method: (
            method == "__call__" and "/".join(module.path) in layers
        )
    }


def captured(updates: Mapping[str, Any], layers: tuple[str, ...]) -> Features:
    """The outputs that were kept, float32.

    Raises:
        UserError: A path is not a module of the network.
    """
    kept = traverse_util.flatten_dict(updates.get("intermediates", {}), sep="/")
    outputs = {
        path.removesuffix("/__call__"): values[0].astype(jnp.float32)
        for path, values in kept.items()
        if path.endswith("__call__")
    }
    if missing := [layer for layer in layers if layer not in outputs]:
        raise UserError(
            f"The network has no layer {missing[0]}. `jaxseg models NETWORK` lists the layers of "
            "a network; give their paths with slashes."
        )
    return outputs


def valid_on_grid(valid: jax.Array, features: jax.Array) -> jax.Array:
    """(B, H, W, ...) -> (B, h, w, ...), sampled at the first pixel of each coarser cell."""
    rows, columns = (
        jnp.minimum(jnp.arange(few) * -(-many // few), many - 1)
        for few, many in zip(features.shape[1:3], valid.shape[1:3], strict=True)
    )
    return valid[:, rows][:, :, columns]


def _attention(features: jax.Array, mask: jax.Array) -> jax.Array:
    """(B, h, w, F) -> (B, h, w, 1) of unit length in each image."""
    energy = jnp.where(mask, (features**2).sum(-1, keepdims=True), 0.0)
    # The constant keeps the gradient of an image without energy finite.
    return energy * jax.lax.rsqrt((energy**2).sum((1, 2, 3), keepdims=True) + 1e-12)


def _mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    return over(jnp.where(mask, values, 0.0).sum(), (mask * jnp.ones(values.shape[-1])).sum())
