"""Every network through ONNX: opset, size of the file, largest difference, operators.

    python benchmarks/exporting.py [--networks UNet PSPNet] [--size 64] [--bands 6]

Networks have their default sizes and random weights, batch statistics included; radiometry is a
standardisation. The temperature brings the largest logit to 10, so that probabilities differ where
logits do. The file is run in onnxruntime on the CPU; the other side is the network as it is
written, its normalisations not folded, in JAX on the CPU. Needs onnx and onnxruntime.
"""

import argparse
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import models
from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.errors import UserError
from jaxseg.export.inference import Inference
from jaxseg.export.onnx_file import onnx_bytes, session_of
from jaxseg.export.onnx_graph import OPSET
from jaxseg.export.stablehlo import exported_of
from jaxseg.pipeline import Data
from jaxseg.run.loaded import Run
from jaxseg.scenes import Sensor
from jaxseg.transforms import Standardize

LARGEST_LOGIT = 10.0


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="*", default=list(models.__all__))
    parser.add_argument("--size", type=int, default=64, help="rows and columns")
    parser.add_argument("--bands", type=int, default=6)
    flags = parser.parse_args()
    print(
        "| network | parameters | MB | opset | largest difference | height and width of StableHLO |"
    )
    print("|---|---|---|---|---|---|")
    for name in flags.networks:
        print(f"| {name} | {row(name, flags.size, flags.bands)} |", flush=True)


def row(name: str, size: int, bands: int) -> str:
    """The cells of a network."""
    kind = getattr(models, name)
    more = {"network": models.UNet(num_classes=0)} if name == "TwoNetworks" else {}
    run = drawn(kind(num_classes=5, **more), bands)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(run.variables["params"]))
    inference = Inference(run)
    image = inference.sample(2, size, size)
    logits = run.logits(np.nan_to_num(image))
    run = dataclasses.replace(run, temperature=float(abs(logits).max()) / LARGEST_LOGIT)
    inference = Inference(run)
    _, sizes = exported_of(inference, size)
    try:
        content = onnx_bytes(inference, size, {})
    except UserError as error:
        return f"{parameters:,} | | | not exported: {error} | {sizes['height']}"
    session = session_of(content)
    if session is None:
        raise SystemExit("pip install onnxruntime")
    (found,) = session.run(None, {"image": np.moveaxis(image, -1, 1)})
    apart = abs(np.moveaxis(found, 1, -1) - inference.expected(image)).max()
    megabytes = f"{len(content) / 1e6:.1f}"
    return f"{parameters:,} | {megabytes} | {OPSET} | {apart:.1e} | {sizes['height']}"


def drawn(model: Any, bands: int) -> Run:
    """A run with random weights: kernels He-normal, scales and variances around 1."""
    sensor = Sensor(
        tuple(f"B{n + 1}" for n in range(bands)), nodata=0.0, typical=((10.0, 50.0, 90.0),) * bands
    )
    config = Config(
        model=model,
        data=Data(source=Landscape(), crop=64, batch_size=2),
        preprocess=(Standardize((50.0,) * bands, (20.0,) * bands),),
        sensor=sensor,
    )
    image = jax.ShapeDtypeStruct((1, 64, 64, bands), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    random = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> jax.Array:
        noise = random.standard_normal(leaf.shape).astype(np.float32)
        match path[-1].key:
            case "kernel":
                return jnp.asarray(noise * math.sqrt(2 / math.prod(leaf.shape[:-1])))
            case "scale" | "var":
                return jnp.asarray(np.exp(0.1 * noise))
            case _:
                return jnp.asarray(0.1 * noise)

    return Run(config, 0, jax.tree_util.tree_map_with_path(draw, shapes), 1.0, name="drawn")


if __name__ == "__main__":
    main()
