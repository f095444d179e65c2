"""How hard each term of a distillation pulls, and whether in the direction of the labels."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from experiment import Numbers

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import Paired
from jaxseg.losses import CrossEntropy, Distillation
from jaxseg.losses.distillation import captured, capturing
from jaxseg.models.parts.aligned import Aligned
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.pipeline.windows import training_batches
from jaxseg.run import program
from jaxseg.run.measured import counted_pixels
from jaxseg.run.step import TrainState, init_state, prepared
from jaxseg.scenes.scene import Batch, Source

BATCHES = 4


def gradients(
    config: Config, state: TrainState, optical: Source, run: Path, layers: tuple[str, ...]
) -> Numbers:
    """Gradients of terms with factor 1 beside that of cross-entropy, at the start and end of a run.

    Args:
        config: A run on radar alone.
        state: Its last state.
        optical: Optical images of the same ground.
        run: The finished optical run.
        layers: Layers whose features are compared.

    Returns:
        `norm/TERM/WHEN`, the norm of its gradient by the parameters of the network, relative to
        that of cross-entropy, and `cosine/TERM/WHEN`, the cosine between the two; means over four
        batches. Adapters have their initial parameters.
    """
    data = dataclasses.replace(config.data, source=Paired(config.data.source, optical))
    of_features = {"run": str(run), "layers": layers, "student": "student/"}
    terms = {
        "attention maps": Distillation(**of_features, attention=1.0),
        "attention maps, bottleneck alone": Distillation(
            str(run), layers=layers[:1], student="student/", attention=1.0
        ),
        "features": Distillation(**of_features, features=1.0),
        "features through adapters": Distillation(
            str(run), layers=layers, student="aligned/", features=1.0
        ),
        "logits": Distillation(str(run), layers=(), logits=1.0),
        "channel-wise": Distillation(str(run), layers=(), channels=1.0, temperature=4.0),
    }
    losses = {"ce": CrossEntropy()} | terms
    model = Aligned(len(config.data.source.classes), network=config.model, layers=layers)
    captures = tuple(f"{part}/{layer}" for part in ("student", "aligned") for layer in layers)
    taught = dataclasses.replace(config, data=data, loss={"distillation": terms["features"]})
    teacher = program.teacher_of(taught, ())
    mesh = sharding.make_mesh(config.mesh)
    bands = len(config.data.source.sensor.bands)
    around = init_state(dataclasses.replace(config, model=model), bands, mesh)

    @jax.jit
    def measure(state: TrainState, batch: Batch, variables: Any) -> dict[str, jax.Array]:
        seen = teacher.answering(teacher.seeing(prepared(config, batch)), variables)

        def values(params: Any) -> dict[str, jax.Array]:
            with normalised_by(config.norm):
                logits, kept = model.apply(
                    {
                        "params": around.params | {"student": params},
                        "batch_stats": around.batch_stats | {"student": state.batch_stats},
                    },
                    seen["image"],
                    train=True,
                    mutable=["batch_stats", "intermediates"],
                    **capturing(captures),
                )
            own = {f"features/{layer}": x for layer, x in captured(kept, captures).items()}
            valid = counted_pixels(seen)
            return {name: loss(logits, seen | own, valid) for name, loss in losses.items()}

        _, pull = jax.vjp(values, state.params)
        each = {
            name: pull({other: jnp.float32(other == name) for other in losses})[0]
            for name in losses
        }
        labels = each.pop("ce")
        size = optax.tree.norm(labels)
        found = {}
        for name, own in each.items():
            found[f"norm/{name}"] = optax.tree.norm(own) / size
            found[f"cosine/{name}"] = optax.tree.vdot(own, labels) / (size * optax.tree.norm(own))
        return found

    start = init_state(config, bands, mesh)
    batches = training_batches(
        data,
        seed=config.seed,
        positions=list(range(data.batch_size)),
        first=0,
        last=BATCHES,
    )
    rows = [
        {
            f"{name}/{when}": float(value)
            for when, at in (("start", start), ("end", state))
            for name, value in measure(at, batch, teacher.variables).items()
        }
        for batch in batches
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
