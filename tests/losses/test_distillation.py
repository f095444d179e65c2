"""What a teacher adds to the loss, and that nothing of it remains."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.datasets.landscape.source import MEAN, STD, Landscape
from jaxseg.datasets.paired import Paired
from jaxseg.errors import UserError
from jaxseg.evaluation import evaluate as assessment
from jaxseg.losses.distillation import Distillation, Teacher, captured, capturing, valid_on_grid
from jaxseg.models.two_networks import TwoNetworks
from jaxseg.models.unet import UNet
from jaxseg.pipeline.windows import Data
from jaxseg.run import checkpoint, training
from jaxseg.scenes.scene import Scenes
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Dihedral, ScaleCrop
from jaxseg.transforms.radiometry import LogIntensity, Standardize

RNG = np.random.default_rng(0)
FEATURES = jnp.asarray(RNG.standard_normal((2, 4, 6, 5)), jnp.float32)
LOGITS = jnp.asarray(RNG.standard_normal((2, 8, 12, 3)), jnp.float32)
VALID = jnp.ones((2, 8, 12), bool)


def terms(rule: Distillation, ours: jax.Array, theirs: jax.Array, valid: jax.Array = VALID) -> dict:
    batch = {
        "features/bottleneck": ours,
        "teacher/bottleneck": theirs,
        "teacher_logits": LOGITS[::-1],
        "valid": valid,
        "side_valid": jnp.ones_like(valid),
    }
    return rule.parts(LOGITS, batch)


def test_each_term_is_its_formula() -> None:
    rule = Distillation("run", features=1, attention=1, hallucination=1, logits=1, temperature=2)
    found = terms(rule, FEATURES, FEATURES[::-1])
    f, g = np.asarray(FEATURES), np.asarray(FEATURES[::-1])
    np.testing.assert_allclose(found["features"], ((f - g) ** 2).mean(), rtol=1e-5)
    sigmoid = [1 / (1 + np.exp(-x)) for x in (f, g)]
    np.testing.assert_allclose(
        found["hallucination"], ((sigmoid[0] - sigmoid[1]) ** 2).mean(), rtol=1e-5
    )
    q = [(x**2).sum(-1).reshape(2, -1) for x in (f, g)]
    q = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in q]
    np.testing.assert_allclose(found["attention"], ((q[0] - q[1]) ** 2).sum(1).mean(), rtol=1e-4)
    p = [np.asarray(jax.nn.softmax(x / 2)) for x in (LOGITS, LOGITS[::-1])]
    kl = (p[1] * np.log(p[1] / p[0])).sum(-1).mean()
    np.testing.assert_allclose(found["logits"], 4 * kl, rtol=1e-4)
    total = dataclasses.replace(rule, attention=3.0).total(found)
    np.testing.assert_allclose(total, sum(found.values()) + 2 * found["attention"], rtol=1e-6)


def test_places_of_classes_are_compared_as_worked_by_hand() -> None:
    """Two pixels, two classes, tau 1: the teacher has 3 : 1 and 1 : 1, the student 1 : 1 twice."""
    rule = Distillation("run", layers=(), channels=1, temperature=1)
    theirs = jnp.log(jnp.asarray([[3.0, 5.0], [1.0, 5.0]])).reshape(1, 1, 2, 2)
    valid = jnp.ones((1, 1, 2), bool)
    batch = {"teacher_logits": theirs, "valid": valid, "side_valid": valid}
    ours = jnp.asarray([[2.0, -1.0], [2.0, -1.0]]).reshape(1, 1, 2, 2)
    first = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    np.testing.assert_allclose(rule.parts(ours, batch)["channels"], first / 2, rtol=1e-5)


@pytest.mark.parametrize("known", [12, 5, 0])
def test_places_of_classes_are_compared_where_there_are_data(known: int) -> None:
    """The authors' formula over the known columns; the second window has no data at all."""
    rule = Distillation("run", layers=(), channels=1, temperature=4)
    valid = VALID.at[:, :, known:].set(False).at[1].set(False)
    masks = {"valid": VALID, "side_valid": valid}

    def of(logits: jax.Array) -> jax.Array:
        return rule.parts(logits, masks | {"teacher_logits": LOGITS[::-1]})["channels"]

    z, t = (np.asarray(x, np.float64)[0, :, :known].reshape(-1, 3) for x in (LOGITS, LOGITS[::-1]))
    p, q = (np.exp(x / 4) / np.exp(x / 4).sum(0) for x in (z, t))
    expected = 16 * (q * np.log(q / p)).sum() / 3
    np.testing.assert_allclose(of(LOGITS), expected, rtol=1e-4, atol=1e-9)
    gradient = np.asarray(jax.grad(of)(LOGITS))
    assert np.isfinite(gradient).all()
    assert gradient[0, :, :known].any() == (known > 0)
    assert not gradient[0, :, known:].any()
    assert not gradient[1].any()


def test_equal_networks_have_nothing_to_learn_and_the_teacher_gets_no_gradient() -> None:
    rule = Distillation("run", features=1, attention=1, hallucination=1)
    assert all(float(value) == 0 for value in terms(rule, FEATURES, FEATURES).values())
    taught = jax.grad(lambda t: rule.total(terms(rule, FEATURES, t)))(FEATURES[::-1])
    assert not taught.any()
    learnt = jax.grad(lambda s: rule.total(terms(rule, s, FEATURES[::-1])))(FEATURES)
    assert learnt.any()


def test_invalid_pixels_do_not_count() -> None:
    rule = Distillation("run", features=1, attention=1, hallucination=1, logits=1)
    valid = VALID.at[1].set(False)
    wild = FEATURES.at[1].set(1e3)
    one, other = (terms(rule, x, FEATURES[::-1] * 0.5, valid) for x in (wild, FEATURES))
    chex.assert_trees_all_close(one, other, rtol=1e-5)
    nothing = terms(rule, FEATURES, FEATURES[::-1], jnp.zeros_like(VALID))
    assert all(np.isfinite(value) for value in nothing.values())


def test_a_coarse_grid_is_valid_where_its_cells_begin() -> None:
    valid = jnp.arange(8 * 12).reshape(1, 8, 12) % 2 == 0
    np.testing.assert_array_equal(valid_on_grid(valid, FEATURES[:1]), valid[:, ::2, ::2])


def test_outputs_of_modules_are_found_by_their_path() -> None:
    model = TwoNetworks(3, network=UNet(num_classes=0, features=2), answer="first")
    image = jnp.zeros((1, 32, 32, 2))

    def shapes(layers: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        def outputs(key: jax.Array) -> dict[str, jax.Array]:
            variables = model.init(key, image, train=False)
            _, kept = model.apply(
                variables, image, train=False, mutable=["intermediates"], **capturing(layers)
            )
            return captured(kept, layers)

        found = jax.eval_shape(outputs, jax.random.key(0))
        return {name: array.shape for name, array in found.items()}

    assert shapes(("first/bottleneck", "first/encoder1")) == {
        "first/bottleneck": (1, 2, 2, 32),
        "first/encoder1": (1, 32, 32, 2),
    }
    with pytest.raises(UserError, match="has no layer neck"):
        shapes(("first/bottleneck", "neck"))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match="without any term"):
        Distillation("run")
    with pytest.raises(UserError, match="temperature of a loss is 0"):
        Distillation("run", logits=1, temperature=0)
    with pytest.raises(UserError, match="needs layers"):
        Distillation("run", features=1, layers=())
    with pytest.raises(UserError, match="the student's features are"):
        terms(Distillation("run", features=1), FEATURES, FEATURES[..., :2])


@pytest.mark.parametrize("mask", ["valid", "side_valid"])
def test_logits_where_a_sensor_has_no_data_do_not_count(mask: str) -> None:
    rule = Distillation("run", logits=1, layers=())
    masks = {"valid": VALID, "side_valid": VALID} | {mask: VALID.at[1, 2:].set(False)}

    def of(logits: jax.Array, reference: jax.Array) -> jax.Array:
        batch = masks | {"teacher_logits": reference}
        return rule.parts(logits, batch)["logits"]

    expected = of(LOGITS, LOGITS[::-1])
    for wild in (
        (LOGITS.at[1, 2:].set(9.0), LOGITS[::-1]),
        (LOGITS, LOGITS[::-1].at[1, 2:].set(9.0)),
    ):
        np.testing.assert_allclose(of(*wild), expected, rtol=1e-5)
    gradient = jax.grad(lambda z: of(LOGITS, z))(LOGITS)
    assert not gradient.any()  # the teacher is a constant


def test_a_part_of_the_grid_counts_as_if_the_rest_were_not_there() -> None:
    """Rows 0 to 1 of the coarse grid, in both terms of features, are those of rows 0 to 3."""
    rule = Distillation("run", features=1, hallucination=1)
    valid = VALID.at[:, 4:].set(False)
    found = terms(rule, FEATURES, FEATURES[::-1], valid)
    f, g = np.asarray(FEATURES)[:, :2], np.asarray(FEATURES[::-1])[:, :2]
    np.testing.assert_allclose(found["features"], ((f - g) ** 2).mean(), rtol=1e-5)
    difference = 1 / (1 + np.exp(-f)) - 1 / (1 + np.exp(-g))
    np.testing.assert_allclose(found["hallucination"], (difference**2).mean(), rtol=1e-5)


def test_several_layers_add_up_and_the_students_may_lie_elsewhere() -> None:
    rule = Distillation(
        "run", layers=("a", "b"), student="second/", features=1, attention=1, hallucination=1
    )
    ours = {"second/a": FEATURES, "second/b": 2 * FEATURES[:, :2]}
    theirs = {"a": FEATURES[::-1], "b": FEATURES[::-1, :2]}
    batch = {f"features/{layer}": feature for layer, feature in ours.items()}
    batch |= {f"teacher/{layer}": feature for layer, feature in theirs.items()}
    found = rule.parts(LOGITS, batch | {"valid": VALID, "side_valid": VALID})
    assert set(found) == {"features", "attention", "hallucination"}
    alone = [
        terms(
            dataclasses.replace(rule, layers=("bottleneck",), student=""),
            ours[f"second/{n}"],
            theirs[n],
        )
        for n in "ab"
    ]
    for name, value in found.items():
        np.testing.assert_allclose(value, alone[0][name] + alone[1][name], rtol=1e-5)


def test_maps_of_attention_may_differ_in_width() -> None:
    rule = Distillation("run", attention=1)
    assert (
        float(terms(rule, FEATURES, jnp.concatenate([FEATURES, 0 * FEATURES], -1))["attention"])
        < 1e-9
    )


def test_cells_that_begin_beyond_the_image_are_those_at_its_end() -> None:
    valid = jnp.zeros((1, 5, 5), bool).at[0, 4, 4].set(True).at[0, 0, 0].set(True)
    found = np.asarray(valid_on_grid(valid, jnp.zeros((1, 3, 4, 1))))[0]
    # Cells of 2 pixels: rows 0, 2, 4; columns 0, 2, 4 and what would be 6.
    expected = np.zeros((3, 4), bool)
    expected[0, 0] = expected[2, 2] = expected[2, 3] = True
    np.testing.assert_array_equal(found, expected)


class Half(nn.Module):
    """Two layers of half precision with dropout between them."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:  # noqa: D102
        inner = nn.Dense(4, dtype=jnp.bfloat16, name="neck")(image)
        inner = nn.Dropout(0.5, deterministic=not train)(inner)
        return nn.Dense(3, name="head")(inner)


def test_a_teacher_answers_as_it_does_in_evaluation_in_float32() -> None:
    image = FEATURES[..., :2]
    variables = Half().init(jax.random.key(0), image, train=False)
    teacher = Teacher(("neck",), Half(), lambda image, valid: image, {})
    found = teacher.answering({"side": image}, variables)
    expected = Half().apply(variables, image, train=False)
    np.testing.assert_array_equal(found["teacher_logits"], expected)
    assert found.keys() == {"teacher/neck", "teacher_logits"}
    assert found["teacher/neck"].dtype == jnp.float32
    expected = image @ variables["params"]["neck"]["kernel"]
    np.testing.assert_allclose(found["teacher/neck"], expected, atol=0.05)


def test_factors_below_nothing_are_refused_and_a_term_may_stand_alone() -> None:
    for name in ("features", "attention", "hallucination", "logits", "channels"):
        Distillation("run", **{name: 0.1})  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"{name} of a loss is -1"):
            Distillation("run", **{"logits": 1.0, name: -1.0})  # type: ignore[arg-type]
    Distillation("run", logits=1.0, layers=())
    Distillation("run", channels=1.0, layers=())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on optical images; its folder holds the tiles too."""
    folder = tmp_path_factory.mktemp("teacher")
    source = Landscape(tiles=(2, 1, 1), data_dir=str(folder))
    config = short(Data(source=source, crop=32, batch_size=8), (Standardize(*optical()),))
    training.train(config, folder / "run")
    return folder


def optical() -> tuple[tuple[float, ...], tuple[float, ...]]:
    return MEAN["optical"], STD["optical"]


def short(data: Data, preprocess: tuple) -> Config:  # type: ignore[type-arg]
    return Config(
        model=UNet(num_classes=10, features=2),
        data=data,
        preprocess=preprocess,
        num_steps=2,
        log_every=1,
        eval_every=2,
        save_every=2,
    )


def radar(teacher: Path) -> Config:
    sar = Landscape(modality="sar", tiles=(2, 1, 1), data_dir=str(teacher))
    side = Landscape(tiles=(2, 1, 1), data_dir=str(teacher))
    config = short(
        Data(source=Paired(sar, side), crop=32, batch_size=8),
        (LogIntensity(), Standardize(MEAN["sar"], STD["sar"])),
    )
    return dataclasses.replace(config, augment=(Dihedral(), ScaleCrop(low=0.8, high=1.2)))


def radar_alone(scenes: Callable[[Landscape, str], Scenes]) -> Callable[[Landscape, str], Scenes]:
    def opened(source: Landscape, split: str) -> Scenes:
        assert source.modality == "sar", "the optical images are gone"
        return scenes(source, split)

    return opened


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "two"),
    [
        ({"features": 0.1, "attention": 10.0, "logits": 0.5}, False),
        ({"hallucination": 10.0, "student": "second/"}, True),
    ],
)
def test_a_run_with_a_teacher_is_used_without_its_images(
    teacher: Path,
    tmp_path: Path,
    rule: dict[str, object],
    two: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = radar(teacher)
    if two:
        model = TwoNetworks(10, network=UNet(num_classes=0, features=2))
        config = dataclasses.replace(config, model=model)
    distilled = Distillation(str(teacher / "run"), **rule)  # type: ignore[arg-type]
    taught = dataclasses.replace(config, loss=config.loss | {"distillation": distilled})
    plain = training.train(config, tmp_path / "plain")
    state = training.train(taught, tmp_path / "taught")
    chex.assert_trees_all_equal_shapes(state, plain)
    assert any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(plain.params), strict=True)
    )
    line = (tmp_path / "taught/metrics.jsonl").read_text().splitlines()[0]
    assert "loss/distillation" in line
    # What is stored is what a run without side images stores; reading it needs no teacher.
    stored, again = checkpoint.reopen(tmp_path / "taught", MeshShape())
    chex.assert_trees_all_equal(again.params, state.params)
    assert config_text.to_json(stored.model) == config_text.to_json(config.model)
    # Neither does evaluating it, baseline of single pixels and all.
    with monkeypatch.context() as patch:
        patch.setattr(Landscape, "scenes", radar_alone(Landscape.scenes))
        assert assessment.evaluate(tmp_path / "taught").baseline is not None


@pytest.mark.slow
def test_a_teacher_needs_side_images_and_the_same_classes(teacher: Path, tmp_path: Path) -> None:
    rule = Distillation(str(teacher / "run"), logits=1.0)
    config = radar(teacher)
    config = dataclasses.replace(config, loss=config.loss | {"distillation": rule})
    alone = dataclasses.replace(config.data, source=config.data.source.source)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="data have no side images"):
        training.train(dataclasses.replace(config, data=alone), tmp_path)
