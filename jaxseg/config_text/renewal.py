"""Configs stored by earlier versions, converted to today's form: moved names, removed fields.

Every entry states the last version that wrote the old form.
"""

from typing import Any

Json = Any
"""What the `json` module reads and writes."""

MOVED = {  # up to 0.1.0
    "jaxseg.batch": "jaxseg.scenes",
    "jaxseg.data": "jaxseg.pipeline",
    "jaxseg.distillation": "jaxseg.losses",
    "jaxseg.edge_losses": "jaxseg.losses",
    "jaxseg.hyperspectral_transforms": "jaxseg.transforms",
    "jaxseg.models.unet": "jaxseg.models",
    "jaxseg.polsar_transforms": "jaxseg.transforms",
    "jaxseg.pretrained": "jaxseg.weights",
    "jaxseg.region_losses": "jaxseg.losses",
    "jaxseg.sar_transforms": "jaxseg.transforms",
    "jaxseg.selection": "jaxseg.losses",
    "jaxseg.sensor": "jaxseg.scenes",
}
"""Modules named in stored configs and users' files -> where their classes are now."""

ONE_SCENE = ("IndianPines", "SalinasA", "LabelledPolsar")


def renewed(value: Json) -> Json:
    """A stored config in the form in which this version stores it."""
    if isinstance(value, list):
        return [renewed(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: renewed(item) for name, item in value.items()}
    name = str(value.get("class", ""))
    if name == "jaxseg.config.Config" and "class_weight" in value:
        value = _losses(value)
    if name == "jaxseg.data.Data":
        # The inputs of losses now follow from the losses.
        value = {k: v for k, v in value.items() if not k.startswith("separation")}
    if name.rpartition(".")[2] in ONE_SCENE and "guard" in value:
        value = _one_split(value)
    return value


def _losses(config: dict[str, Json]) -> dict[str, Json]:
    """Up to 0.1.0 presence and distillation were fields of the config; now they are losses."""
    gone = ("class_weight", "presence_weights", "distillation")
    kept = {name: item for name, item in config.items() if name not in gone}
    losses = dict(config["loss"])
    if config["model"]["class"].endswith(".LecturePSPNet"):  # the only network with such logits
        losses["presence"] = {
            "class": "jaxseg.losses.Presence",
            "weight": config["class_weight"],
            "class_weights": config["presence_weights"],
        }
    distillation = config["distillation"]
    if distillation["run"] is not None:
        losses["distillation"] = distillation
    return kept | {"loss": losses}


def _one_split(source: dict[str, Json]) -> dict[str, Json]:
    """Up to 0.1.0 the split of a single scene was five fields of its source; now it is one."""
    names = ("fractions", "block", "guard", "seed")
    split = {"class": "jaxseg.datasets.one_scene.SceneSplit", "kind": source.get("split", "blocks")}
    kept = {name: item for name, item in source.items() if name not in names}
    return kept | {"split": split | {name: source[name] for name in names}}
