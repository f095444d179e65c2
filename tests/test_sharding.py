"""The mesh with several processes: two of them train as one."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.places import ROOT
from fixtures.processes import joined

from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.sharding import MeshShape


def test_positions_cover_the_batch() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=2, space=2))
    assert sharding.local_positions(mesh, 8) == list(range(8))


def test_large_leaves_are_cut_along_their_largest_axis() -> None:
    mesh = sharding.make_mesh(MeshShape(data=1, fsdp=8))
    tree = {
        "kernel": jax.ShapeDtypeStruct((3, 3, 64, 128), "float32"),
        "odd": jax.ShapeDtypeStruct((3, 3, 65, 129), "float32"),
        "bias": jax.ShapeDtypeStruct((128,), "float32"),
    }
    placed = sharding.state_shardings(mesh, tree)
    assert placed["kernel"].spec == jax.sharding.PartitionSpec(None, None, None, "fsdp")
    assert placed["odd"].spec == jax.sharding.PartitionSpec()
    assert placed["bias"].spec == jax.sharding.PartitionSpec()


@pytest.mark.slow
def test_two_processes_train_as_one_and_count_alike(tiny: Path, tmp_path: Path) -> None:
    def trained(workdir: Path, processes: int, devices: int) -> list[float]:
        """Losses of four steps on `processes` x `devices`."""
        command = [
            *(str(ROOT / "train.py"), "--config", str(tiny / "config.py")),
            *("--workdir", str(workdir), "--config.mesh.data", "2", "--config.mesh.space", "2"),
            *("--config.num-steps", "4", "--config.log-every", "1"),
        ]
        joined(command, tiny, processes=processes, devices=devices)
        rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
        return [row["loss"] for row in rows if row["kind"] == "train"]

    def evaluated(processes: int, devices: int) -> dict[str, Any]:
        """The scores of the run of two processes."""
        main = "import sys; from jaxseg.cli.main import main; main(sys.argv[1:])"
        command = [
            *("-c", main, "evaluate", str(tmp_path / "two"), "--no-baseline"),
            *("--step", "latest", "--mesh.data", "2", "--mesh.space", "2"),
        ]
        joined(command, tiny, processes=processes, devices=devices)
        file = tmp_path / "two" / "evaluation" / "test" / "scores.json"
        network: dict[str, Any] = json.loads(file.read_text())["network"]
        return network

    two = trained(tmp_path / "two", processes=2, devices=2)
    one = trained(tmp_path / "one", processes=1, devices=4)
    assert len(two) == 4
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert two == pytest.approx(one, rel=1e-2)  # rounding grows with the steps of AdamW

    by_two, by_one = evaluated(processes=2, devices=2), evaluated(processes=1, devices=4)
    for name in ("confusion", "kappa", "per_class", "boundaries", "intervals"):
        assert by_two[name] == by_one[name]
    for name in ("disc", "square"):
        # The sum of IoU over the scenes of each process rounds in another order.
        assert by_two["objects"][name] == pytest.approx(by_one["objects"][name])
    for name in ("ece", "nll"):
        after = [found["calibration"]["after"][name] for found in (by_two, by_one)]
        assert after[0] == pytest.approx(after[1], rel=1e-4)


def test_the_axes_stand_in_their_order_and_data_takes_what_is_left() -> None:
    for shape, sizes in (
        (MeshShape(), (8, 1, 1)),
        (MeshShape(fsdp=2), (4, 2, 1)),
        (MeshShape(fsdp=2, space=4), (1, 2, 4)),
        (MeshShape(data=2, fsdp=1, space=4), (2, 1, 4)),
    ):
        mesh = sharding.make_mesh(shape)
        assert mesh.axis_names == ("data", "fsdp", "space")
        assert mesh.devices.shape == sizes
        assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
    assert sharding.make_mesh(MeshShape(), jax.devices()[:3]).devices.shape == (3, 1, 1)


@pytest.mark.parametrize(
    "shape",
    [MeshShape(4), MeshShape(16), MeshShape(fsdp=3), MeshShape(space=16), MeshShape(-2, -2, 2)],
)
def test_axes_that_do_not_multiply_to_the_devices_are_refused(shape: MeshShape) -> None:
    with pytest.raises(UserError, match=r"on 8 device\(s\): all three must be positive"):
        sharding.make_mesh(shape)


def test_a_batch_is_cut_by_images_and_by_rows() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=2, space=2))
    image = np.arange(8 * 4 * 3).reshape(8, 4, 3)
    batch = sharding.place_batch(mesh, {"image": image})
    np.testing.assert_array_equal(batch["image"], image)
    shards = {shard.device: shard.data.shape for shard in batch["image"].addressable_shards}
    assert set(shards.values()) == {(2, 2, 3)}
    where = {
        shard.device: (shard.index[0].start, shard.index[1].start)
        for shard in batch["image"].addressable_shards
    }
    for place, device in np.ndenumerate(mesh.devices):
        data, fsdp, space = place
        assert where[device] == (2 * (2 * data + fsdp), 2 * space)


def test_a_large_leaf_is_cut_along_the_largest_axis_that_can_be() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=4))
    spec = jax.sharding.PartitionSpec
    leaves = {
        (130, 64, 4): spec(None, "fsdp"),  # 4 does not divide 130
        (256, 64): spec("fsdp"),
        (64, 256): spec(None, "fsdp"),
        (sharding.SMALL,): spec("fsdp"),
        (sharding.SMALL // 2, 1): spec(),  # too small to be worth it
        (201, 201): spec(),  # cannot be
    }
    for shape, expected in leaves.items():
        leaf = jax.ShapeDtypeStruct(shape, "float32")
        assert sharding.state_shardings(mesh, leaf).spec == expected
        whole = sharding.state_shardings(sharding.make_mesh(MeshShape()), leaf)
        assert whole.spec == spec()


def test_what_is_gathered_is_whole_on_every_device() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=4))
    leaf = np.arange(float(sharding.SMALL)).reshape(-1, 64)
    placed = jax.device_put(leaf, sharding.state_shardings(mesh, leaf))
    assert placed.addressable_shards[0].data.size == leaf.size // 4
    found = jax.jit(lambda tree: sharding.gathered(mesh, tree))({"a": placed})["a"]
    assert found.sharding.is_fully_replicated
    np.testing.assert_array_equal(found, leaf)


def test_a_batch_has_to_be_cut_evenly_by_every_axis() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=2, space=2))
    sharding.check_batch(mesh, 4, 16)
    with pytest.raises(UserError, match=r"Batch of 6 over 4 devices.*--config.data.batch-size 8"):
        sharding.check_batch(mesh, 6, 16)
    with pytest.raises(UserError, match="Windows of 17 rows over 2 devices"):
        sharding.check_batch(mesh, 4, 17)
    with pytest.raises(UserError, match=r"14 rows over 2 devices .* at least 8 .* 16 rows or more"):
        sharding.check_batch(mesh, 4, 14)
    three = sharding.make_mesh(MeshShape(data=1, space=3), jax.devices()[:3])
    with pytest.raises(UserError, match=r"space=3 with 8 device\(s\) per process: the rows"):
        sharding.check_batch(three, 4, 24)


def test_a_value_of_each_device_is_one_array_over_all_axes() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, fsdp=2, space=2))
    values = sharding.of_each_device(mesh, np.bool(True))
    assert values.shape == (8,)
    assert {shard.data.shape for shard in values.addressable_shards} == {(1,)}
    assert bool(values.all())


def test_pretended_devices_get_threads_unless_somebody_gave_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for flags, given, expected in (
        ("--other --xla_force_host_platform_device_count=16 --more", None, "512"),
        ("--xla_force_host_platform_device_count=16", "3", "3"),
        ("--other", None, None),
    ):
        monkeypatch.setenv("XLA_FLAGS", flags)
        monkeypatch.delenv("NPROC", raising=False)
        if given:
            monkeypatch.setenv("NPROC", given)
        sharding.give_pretended_devices_threads()
        assert os.environ.get("NPROC") == expected
