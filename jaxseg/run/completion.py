"""What a config leaves open: statistics, number of classes, weighting rules, inputs of losses."""

import dataclasses
import math
from typing import Any

import jax

from jaxseg.config import Config, outputs_of
from jaxseg.datasets.domains import Domains
from jaxseg.datasets.packed.source import with_originals
from jaxseg.datasets.wrapped import walk
from jaxseg.errors import UserError
from jaxseg.losses.class_counts import class_counts
from jaxseg.losses.loss import Loss, needs_of
from jaxseg.models.domain_prompted import DomainPrompted
from jaxseg.pipeline import band_statistics
from jaxseg.pipeline.windows import Data
from jaxseg.run import card_values, fitting
from jaxseg.run.contract import say_unlike
from jaxseg.scenes.scene import PixelInput
from jaxseg.scenes.sensor import Sensor
from jaxseg.system.console import make_console
from jaxseg.transforms.augmentation import ScaleCrop
from jaxseg.transforms.domain_band import DomainBand


def completed(config: Config, stored: Config | None = None) -> Config:
    """Fills in what a config leaves open: statistics, number of classes, weighting rules.

    Args:
        config: The config.
        stored: The config of the run that is resumed; None for a new run.

    Raises:
        UserError: The data are missing or too few.
    """
    source = with_originals(config.data.source)
    if source is not config.data.source:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    if not config.reconstructs:
        config = _sized(config)
    _check_domains(config)
    known = () if stored is None else stored.preprocess
    sensor = _measured(config.data) if stored is None else stored.sensor
    steps = card_values.adapted(config, sensor, quiet=stored is not None)
    config = dataclasses.replace(
        _weighted(config), preprocess=fitting.fitted(steps, config.data, known), sensor=sensor
    )
    return _sized(config)  # bands are known when the radiometry is fitted


def _sized(config: Config) -> Config:
    """The config with a number of outputs instead of 0."""
    if getattr(config.model, "num_classes", None) != 0:
        return config
    return dataclasses.replace(config, model=config.model.clone(num_classes=outputs_of(config)))


def _check_domains(config: Config) -> None:
    """Rejects a network whose prompts are not as many as the source has domains.

    Raises:
        UserError: They are not, or the network would never see the numbers of the domains.
    """
    model, sources = config.model, [part for _, part in walk(config.data.source)]
    if not isinstance(model, DomainPrompted):
        return
    numbers = [len(part.sources) for part in sources if isinstance(part, Domains)]
    if numbers != [model.domains]:
        raise UserError(
            f"DomainPrompted has prompts for {model.domains} domains, and the source "
            f"{numbers[0] if numbers else 'no'} domains. Give Domains(sources=...) of "
            "jaxseg.datasets as the source and as many --config.model.domains."
        )
    if not any(isinstance(step, DomainBand) for step in config.augment[-1:]):
        raise UserError(
            "DomainPrompted learns its prompts by the number of the domain: give DomainBand() of "
            "jaxseg.transforms as the last step of augment."
        )


def _measured(data: Data) -> Sensor:
    """The source's sensor with the typical values of its training images."""
    scenes = data.source.scenes("train")
    found = band_statistics.look(scenes, data.crop)
    say_unlike(data.source, scenes, found)
    return dataclasses.replace(data.source.sensor, typical=found.typical)


def inputs_of(config: Config) -> tuple[PixelInput, ...]:
    """The maps that the losses need besides image and label, for the smallest zoom applied."""
    zoom = math.prod(
        step.low for step in (*config.augment_raw, *config.augment) if isinstance(step, ScaleCrop)
    )
    return needs_of(config.loss.values(), zoom)


def _weighted(config: Config) -> Config:
    """The config with numbers instead of rules as class weights."""
    resolved: dict[str, Any] = dict(config.loss)
    ruled = {name for name, loss in resolved.items() if _rule(loss) is not None}
    if not ruled:
        return config
    console = make_console()
    console.quiet = jax.process_index() > 0
    counts = class_counts(config.data.source, threads=config.data.threads, console=console)
    for name in ruled:
        weights = counts.weights(_rule(resolved[name]))
        resolved[name] = dataclasses.replace(resolved[name], class_weights=weights)
    return dataclasses.replace(config, loss=resolved)


def _rule(loss: Loss) -> Any:  # noqa: ANN401  (a Rule or None; losses need no class weights)
    weights = getattr(loss, "class_weights", ())
    return weights if isinstance(weights, str) else None
