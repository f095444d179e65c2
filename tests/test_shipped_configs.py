"""Every config fits eight devices as it is; those of the embedded dataset really run, on one."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from fixtures.places import CONFIGS

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.datasets.arrays import ArrayScene
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.losses.distillation import Teacher
from jaxseg.losses.loss import captures_of
from jaxseg.run import completion, step, training
from jaxseg.transforms.radiometry import Standardize
from jaxseg.transforms.transform import preprocess

SHIPPED = sorted(CONFIGS.glob("*.py"))
EMBEDDED = [p for p in SHIPPED if isinstance(configs.load_config(str(p)).data.source, Landscape)]


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_config_lowers_to_eight_devices_as_it_is(path: Path) -> None:
    config = configs.load_config(str(path))
    source = config.data.source
    if isinstance(source, Folder):
        bands = 3  # in its files
    elif isinstance(source, ArrayScene):
        bands = len(source.band_names)  # its sensor reads the file
    else:
        bands = len(source.sensor.bands)
    if not getattr(config.model, "num_classes", 1):
        outputs = bands if config.reconstructs else 2
        config = dataclasses.replace(config, model=config.model.clone(num_classes=outputs))
    measured = Standardize((0.0,) * bands, (1.0,) * bands)  # no step before it changes their number
    steps = tuple(measured if each == Standardize() else each for each in config.preprocess)
    config = dataclasses.replace(config, preprocess=steps)
    mesh = sharding.make_mesh(config.mesh)
    data = config.data
    sharding.check_batch(mesh, data.batch_size, data.crop)
    place = sharding.batch_sharding(mesh)

    def array(dtype: str, *more: int) -> jax.ShapeDtypeStruct:
        shape = (data.batch_size, data.crop, data.crop, *more)
        return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=place)

    batch = {
        "image": array("uint16", bands),
        "label": array("uint8"),
        "valid": array("bool"),
    }
    teacher, taught = None, ()
    if config.incremental.run is not None:  # its network, with fewer classes
        old = dataclasses.replace(config, model=config.model.clone(num_classes=1))
        taught = (step.inference_variables(step.abstract_state(old, bands, mesh)),)
        layers = captures_of(config.loss.values())
        see = functools.partial(preprocess, steps=config.preprocess)
        teacher = Teacher(layers, old.model, see, taught[0], alike=True)
    batch |= {wanted.name: array("float32") for wanted in completion.inputs_of(config)}
    state = step.abstract_state(config, bands, mesh)
    lowered = jax.jit(step.make_train_step(config, mesh, teacher)).lower(state, batch, *taught)
    assert "sharding" in lowered.as_text()
    new_state, metrics = lowered.out_info
    assert jax.tree.map(lambda a: a.shape, new_state) == jax.tree.map(lambda a: a.shape, state)
    assert metrics["loss"].shape == ()


@pytest.mark.slow
@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
def test_a_config_of_the_landscape_runs_as_it_is(
    path: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Simulated devices stand still about once in twenty trainings of such networks: the threads of
    # XLA:CPU that wait in a reduction leave work of another device behind that no thread takes.
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)
    config = configs.load_config(str(path))
    tiles = tmp_path_factory.getbasetemp() / "landscape"
    small = dataclasses.replace(config.data.source, tiles=(4, 2, 2), data_dir=str(tiles))
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, source=small),
        optimizer=dataclasses.replace(config.optimizer, warmup=0),
        num_steps=2,
    )
    state = training.train(config, tmp_path / "run")
    assert int(state.step) == 2
