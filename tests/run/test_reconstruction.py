"""Pre-training as a run: validated by what it explains, resumed, its encoder used afterwards."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from fixtures import painted
from fixtures.metric_lines import metric_lines
from fixtures.small_network import Small
from flax import traverse_util

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.losses.reconstruction import MaskedReconstruction
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.prithvi import PrithviUNet
from jaxseg.models.unet import UNet
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import windows as pipeline
from jaxseg.prediction.predict import Mapper
from jaxseg.run import completion, training
from jaxseg.run import step as steps
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.loaded import load_run
from jaxseg.run.reconstruction import VALIDATION, Reconstruction
from jaxseg.run.step import TrainState, inference_variables
from jaxseg.transforms.augmentation import Dihedral
from jaxseg.transforms.masking import HidePatches, OfClasses, OfGradients
from jaxseg.transforms.radiometry import Standardize
from jaxseg.weights import Pretrained, pretrained


def pretraining(**changes: Any) -> Config:
    """Six steps of a small network on scenes with pixels without data and without labels."""
    plain = painted.config(
        model=Small(0),
        preprocess=(Standardize(),),
        augment=(Dihedral(), HidePatches(patch=4, share=0.5, proposals=OfGradients())),
        loss={"reconstruction": MaskedReconstruction()},
        optimizer=Optimizer(learning_rate=5e-3, schedule="constant"),
        num_steps=6,
        eval_every=3,
        save_every=3,
        log_every=3,
        keep=5,
    )
    data = dataclasses.replace(
        plain.data, source=painted.Painted(sizes=((40, 32), (33, 48))), crop=16, batch_size=8
    )
    return dataclasses.replace(plain, data=data, **changes)


class Trained(NamedTuple):
    """A run that ended."""

    workdir: Path
    state: TrainState


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    workdir = tmp_path_factory.mktemp("pretraining") / "run"
    return Trained(workdir, training.train(pretraining(), workdir))


def test_pretraining_logs_what_it_explains_and_no_miou(trained: Trained) -> None:
    rows = metric_lines(trained.workdir, "validation")
    assert list(rows) == [3, 6]
    assert {"explained", "explained/answer", "explained/class"} <= rows[6].keys()
    assert rows[6]["explained"] < 1
    logged = metric_lines(trained.workdir, "train")[6]
    assert "loss/reconstruction" in logged
    assert "miou" not in logged.keys() | rows[6].keys()


def test_a_resumed_pretraining_equals_an_undisturbed_one(trained: Trained, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(trained.workdir, workdir)
    shutil.rmtree(workdir / "checkpoints" / "6")
    again = training.train(pretraining(), workdir)
    assert int(again.step) == 6
    for one, other in zip(jax.tree.leaves(trained.state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_encoder_of_a_pretraining_is_in_another_network_bit_by_bit(tmp_path: Path) -> None:
    state = training.train(pretraining(model=UNet(num_classes=0, features=2)), tmp_path / "run")
    run = load_run(tmp_path / "run", "latest", code=(painted.Painted,))
    assert run.config.model.num_classes == 2  # the bands
    file = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(pretrained.exported(run.config.model, run.variables), file)
    model = UNet(num_classes=5, features=2)
    fresh = jax.device_get(model.init(jax.random.key(9), jnp.zeros((1, 16, 16, 2)), train=False))
    filled = traverse_util.flatten_dict(Pretrained(str(file), part="encoder").into(model, fresh))
    before = traverse_util.flatten_dict(jax.device_get(inference_variables(state)))
    encoder = {p for p in filled if p[1].startswith("encoder") or p[1] == "bottleneck"}
    assert len(encoder) > 40
    for path, leaf in filled.items():
        expected = before[path] if path in encoder else traverse_util.flatten_dict(fresh)[path]
        np.testing.assert_array_equal(leaf, expected, err_msg="/".join(path))


def test_maps_and_scores_of_classes_are_refused(trained: Trained) -> None:
    run = load_run(trained.workdir, "latest", code=(painted.Painted, Small))
    with pytest.raises(UserError, match="pre-training: its outputs are bands"):
        Mapper([run])
    with pytest.raises(UserError, match="jaxseg export RUN FILE"):
        Evaluator(run.config, sharding.make_mesh(run.config.mesh), "test")


def test_what_is_explained_is_one_less_the_error_by_the_variance() -> None:
    config = configured(pretraining(preprocess=()))
    mesh = sharding.make_mesh(config.mesh)
    state = steps.init_state(config, 2, mesh)
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    bias = jnp.asarray([0.5, 1.5])
    zeros["head"]["bias"] = bias
    found = Reconstruction(config, mesh, "validation")(state.replace(params=zeros)).scores
    scenes = config.data.source.scenes("validation")
    assert 0.4 < found.pixels / sum(array["valid"].sum() for array in scenes.arrays) < 0.6
    # By hand, over the same pixels.
    values = hidden_values(config)
    assert len(values) == found.pixels
    error = ((values - np.asarray(bias)) ** 2).sum(0)
    deviation = ((values - values.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(found.errors, error, rtol=1e-5)
    np.testing.assert_allclose(found.deviations, deviation, rtol=1e-4)
    assert found.best_by == pytest.approx(1 - error.sum() / deviation.sum(), rel=1e-4)
    assert found.csv_rows()[1][0] == "answer"


def hidden_values(config: Config) -> np.ndarray:
    """(N, 2) the values of all hidden pixels with data, window by window."""
    scenes = config.data.source.scenes("validation")
    key = jax.random.fold_in(jax.random.key(config.seed), VALIDATION)
    kept = []
    for scene, window in pipeline.windows_of(pipeline.cover_of(config.data), scenes):
        sample = pipeline.read_window(scenes, scene, window, config.data)
        batch = {name: jnp.asarray(array)[None] for name, array in sample.items()}
        hidden = np.asarray(config.augment[-1].alike(key, batch)["hidden"][0])
        kept.append(sample["image"][hidden & sample["valid"].astype(bool)])
    return np.concatenate(kept).astype(np.float64)


def test_slices_of_a_batch_have_the_gradient_of_the_batch() -> None:
    whole = configured(pretraining(model=Small(0, features=4), preprocess=()))
    mesh = sharding.make_mesh(whole.mesh, jax.devices()[:1])
    random = np.random.default_rng(0)
    batch = {
        "image": jnp.asarray(random.standard_normal((8, 16, 16, 2)), jnp.float32),
        "label": jnp.zeros((8, 16, 16), jnp.int32),
        "valid": jnp.asarray(random.random((8, 16, 16)) < np.linspace(0.1, 1, 8)[:, None, None]),
    }
    norms = []
    for parts in (1, 4):
        config = dataclasses.replace(whole, accumulate=parts)
        config = dataclasses.replace(config, norm=dataclasses.replace(config.norm, kind="group"))
        state = steps.init_state(config, 2, mesh)
        norms.append(jax.jit(steps.make_train_step(config, mesh))(state, batch)[1])
    assert float(norms[0]["loss"]) == pytest.approx(float(norms[1]["loss"]), rel=1e-5)
    assert float(norms[0]["grad_norm"]) == pytest.approx(float(norms[1]["grad_norm"]), rel=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        DeepLabV3(num_classes=2, backbone="resnet18"),  # enlarges its answers image by image
        PrithviUNet(num_classes=2),
        UNetPlusPlus(num_classes=2, deep_supervision=True),  # answers several times
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_network_can_be_pretrained(model: nn.Module) -> None:
    config = pretraining(model=model, preprocess=(), augment=(HidePatches(patch=16, share=0.5),))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, crop=64))
    configs.check(config)
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    shapes = {"image": (8, 64, 64, 2), "label": (8, 64, 64), "valid": (8, 64, 64)}
    dtypes = {"image": jnp.float32, "label": jnp.int32, "valid": jnp.bool}
    batch = {name: jax.ShapeDtypeStruct(shape, dtypes[name]) for name, shape in shapes.items()}
    state = steps.abstract_state(config, 2, mesh)
    _, metrics = jax.eval_shape(steps.make_train_step(config, mesh), state, batch)
    assert metrics["loss/reconstruction"].shape == ()
    assert metrics["confusion"].shape == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": ()}, "ends its augment with HidePatches"),
        ({"augment": (HidePatches(patch=4), Dihedral())}, "ends its augment with HidePatches"),
        ({"augment": (HidePatches(patch=5),)}, "patches of 5 pixels"),
        ({"model": UNet(num_classes=3, features=2)}, "3 outputs, and 2 preprocessed bands"),
        (
            {"loss": {"r": MaskedReconstruction(), "ce": CrossEntropy()}},
            "The loss ce compares classes",
        ),
    ],
)
def test_configs_that_cannot_reconstruct_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        configs.check(pretraining(**changes))


def test_labels_as_proposals_are_read_and_change_what_is_hidden() -> None:
    batch = {
        "image": jnp.zeros((4, 16, 16, 2)),
        "label": jnp.zeros((4, 16, 16), jnp.int32).at[:, :8].set(2),
        "valid": jnp.ones((4, 16, 16), bool),
    }
    hiding = HidePatches(patch=4, share=0.5, proposals=OfClasses((2,)), odds=1e6)
    hidden = hiding(jax.random.key(0), batch)["hidden"]
    assert hidden[:, :8].all()
    assert not hidden[:, 8:].any()


def configured(config: Config) -> Config:
    config = completion.completed(config)
    configs.check(config)
    return config
