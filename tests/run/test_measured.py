"""Losses of enlarged logits: image by image they are those of the batch, with their gradients."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.arrays import assert_same, normal
from jax import Array

from jaxseg.config import Config
from jaxseg.losses import CrossEntropy, Dice, Focal
from jaxseg.losses.pixels import MeanOfPixels
from jaxseg.models import DeepLabV3, DeepLabV3Plus, PSPNet, RefinedPSPNet, UNet
from jaxseg.models.parts import enlarged
from jaxseg.models.parts.enlarged import EnlargedLogits
from jaxseg.models.parts.layers import Conv
from jaxseg.models.parts.platforms import FORCED, compiled_for
from jaxseg.run import measured, step
from jaxseg.run.step import abstract_state, init_state
from jaxseg.scenes.scene import IGNORE, Batch
from jaxseg.sharding import MeshShape, batch_sharding, make_mesh

SMALL: dict[str, Any] = {"num_classes": 3, "backbone": "resnet18"}
NETWORKS: tuple[Any, ...] = (
    DeepLabV3(**SMALL, features=4, align_corners=True),
    DeepLabV3Plus(**SMALL, features=4),
    PSPNet(**SMALL),
    RefinedPSPNet(**SMALL, features=4),
)
LOSSES = {"ce": CrossEntropy(class_weights=(1.0, 3.0, 0.5)), "focal": Focal(weight=0.3)}


def config_of(model: Any, **fields: Any) -> Config:
    config = painted.config(num_steps=4, model=model, loss=LOSSES, **fields)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=8))


def batch_of(size: int) -> dict[str, Array]:
    """Images that count as much as their pixels, which are of different numbers."""
    random = np.random.default_rng(0)
    label = random.integers(0, 3, (8, size, size)).astype(np.uint8)
    label[0], label[1, :7], label[5, 3:] = IGNORE, IGNORE, IGNORE
    valid = random.random((8, size, size)) < 0.9
    image = random.normal(size=(8, size, size, 2)).astype(np.float32)
    arrays = {"image": image, "label": label, "valid": valid}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


class Tiny(EnlargedLogits):
    """A network of two layers whose last step enlarges its logits."""

    num_classes: int = 3

    def coarse(self, image: Array, *, train: bool) -> Array:
        """See the base."""
        return self(image, train=train, enlarged=False)

    @nn.compact
    def __call__(self, image: Array, *, train: bool, enlarged: bool = True) -> Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        answer, aux = (
            Conv(3, kernel_size=4, stride=4, use_bias=True, name=name)(image)
            for name in ("head", "aux_head")
        )
        if enlarged:
            answer, aux = (self.enlarge(x, *image.shape[1:3]) for x in (answer, aux))
        if not self.is_initializing():
            self.sow("aux_logits", "first", aux)
        return answer


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: type(model).__name__)
def test_losses_image_by_image_are_those_of_the_batch(model: Any) -> None:
    config, batch = config_of(model), batch_of(17)
    answers = [normal(0, 8, 5, 5, 3), normal(1, 8, 3, 3, 3)]

    def losses(form: Any, answers: list[Array], shares: dict[str, Array]) -> Any:
        terms, confusion = form(answers, shares)
        return terms["ce"] + 2 * terms["focal"] + 3 * terms["aux0"], (terms, confusion)

    def at_once(answers: list[Array], shares: dict[str, Array]) -> Any:
        large = [model.enlarge(answer, 17, 17) for answer in answers]
        return measured.measured(config, large, batch, shares)

    def one_by_one(answers: list[Array], shares: dict[str, Array]) -> Any:
        return measured.measured_by_image(config, answers, batch, shares, model.enlarge, 2)

    for shares in ({}, {"ce": jnp.float32(0.7)}):
        found, expected = (
            jax.jit(jax.value_and_grad(losses, 1, has_aux=True), static_argnums=0)(
                form, answers, shares
            )
            for form in (one_by_one, at_once)
        )
        assert_same(found, expected)


def test_what_a_loss_reads_of_each_image_is_that_of_the_image() -> None:
    class Sure(CrossEntropy, MeanOfPixels):
        """Also reads what a network says of each image."""

        def __call__(self, logits: Array, batch: Batch, valid: Array) -> Array:
            return super().__call__(logits * batch["class_logits"][:, None, None], batch, valid)

    config = dataclasses.replace(config_of(NETWORKS[0]), loss={"sure": Sure()})
    batch, answers = batch_of(17) | {"class_logits": normal(2, 8, 3)}, [normal(0, 8, 5, 5, 3)]
    enlarge = NETWORKS[0].enlarge
    large = [enlarge(answer, 17, 17) for answer in answers]
    assert_same(
        jax.jit(lambda: measured.measured_by_image(config, answers, batch, {}, enlarge, 2))(),
        jax.jit(lambda: measured.measured(config, large, batch, {}))(),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"mesh": MeshShape(data=1, space=8)},
        {"mesh": MeshShape(data=2, fsdp=2, space=2)},
        {"mesh": MeshShape(data=2, space=4), "accumulate": 2},
    ],
    ids=["rows", "all", "accumulated"],
)
def test_a_step_image_by_image_is_the_step(fields: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(Tiny(), **fields)
    mesh = make_mesh(config.mesh)
    used = []

    def updated(*, by_image: bool) -> Any:
        monkeypatch.setattr(enlarged, "images_pay", lambda: used.append(by_image) or by_image)
        train = step.jit_train_step(config, mesh, abstract_state(config, 2, mesh))
        batch = jax.device_put(batch_of(64), batch_sharding(mesh))
        state, metrics = train(init_state(config, 2, mesh), batch)
        return jax.device_get((state.opt_state, metrics))

    assert_same(updated(by_image=True), updated(by_image=False))
    assert set(used[:-1]) == {True}
    assert used[-1] is False


@pytest.mark.slow
@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: type(model).__name__)
def test_a_network_enlarges_its_coarse_logits(model: Any) -> None:
    image = normal(0, 2, 20, 33, 2)
    variables = jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()

    @jax.jit
    def both(variables: Any) -> tuple[Array, Array]:
        coarse = model.apply(variables, image, train=False, method="coarse")
        return model.enlarge(coarse, 20, 33), model.apply(variables, image, train=False)

    found, expected = both(variables)
    assert found.shape == (2, 20, 33, 3)
    assert_same(found, expected)


def test_logits_are_left_coarse_on_tpus_for_losses_that_are_means_of_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Louder(DeepLabV3):
        @nn.compact
        def __call__(self, image: Array, *, train: bool) -> Array:  # type: ignore[override]
            return 2 * super().__call__(image, train=train)

    monkeypatch.delenv(FORCED, raising=False)
    for platform, pays in (("tpu", True), ("cpu", False), ("gpu", False), ("", False)):
        with compiled_for(platform):
            assert [enlarged.answers_coarsely(model) for model in NETWORKS] == [pays] * 4
            assert not enlarged.answers_coarsely(UNet(num_classes=3))
            assert not enlarged.answers_coarsely(Louder(num_classes=3))
    asked = []
    monkeypatch.setattr(enlarged, "images_pay", lambda: asked.append(True) or True)
    config = config_of(Tiny())
    config = dataclasses.replace(config, loss=LOSSES | {"dice": Dice()})
    mesh = make_mesh(config.mesh)
    state = abstract_state(config, 2, mesh)
    step.jit_train_step(config, mesh, state).trace(state, batch_of(64))
    assert not asked
