"""Which data `jaxseg evaluate` and `doubts` look at: the run's own, those of flags, of a config."""

import dataclasses
from pathlib import Path
from types import ModuleType

from jaxseg import config as configs
from jaxseg.cli.flags.runs import DoubtsFlags, EvaluateFlags
from jaxseg.errors import UserError
from jaxseg.evaluation import map_data, other_data
from jaxseg.run import checkpoint
from jaxseg.scenes.scene import Source


@dataclasses.dataclass(frozen=True)
class Asked:
    """What to evaluate.

    Attributes:
        source: The data; None = the run's own.
        split: The split of the source.
        called: What the split is called; `all` = the scenes of all splits.
        described: The data with all their splits; None = the run's own.
        name: What the data are called; empty = the run's own.
        code: Modules that classes from outside jaxseg may be taken from.
    """

    source: Source | None
    split: str
    called: str
    described: Source | None
    name: str
    code: tuple[ModuleType, ...]

    def title(self) -> str:
        """As a table is headed."""
        if self.called == "map":
            return f"map {self.name}"
        if self.called == other_data.ALL:
            return f"all of {self.name}"
        return f"{self.called} split" + (f" of {self.name}" if self.name else "")

    def folder(self, workdir: Path, out: Path | None = None) -> Path | None:
        """Where the results are put; None = where those of the run's own data are.

        Args:
            workdir: The run's folder.
            out: Another folder than `workdir`/evaluation.

        Raises:
            UserError: It cannot be written.
        """
        if self.described is None:
            return None if out is None else out / self.called
        return other_data.folder_of(workdir, self.name, self.described, out) / self.called


def asked(
    flags: EvaluateFlags | DoubtsFlags, fields: list[str], code: tuple[ModuleType, ...]
) -> Asked:
    """What the flags ask for.

    Args:
        flags: Those of the command.
        fields: Flags of fields of the config.
        code: Modules that the user has named.

    Raises:
        UserError: The flags contradict each other, or the data cannot be described by them.
    """
    source = None
    _refuse_other_fields(fields)
    maps, labels = "", ""
    if isinstance(flags, EvaluateFlags):
        _check_map(flags)
        maps, labels = flags.map, flags.labels
    if flags.config or fields or flags.images or maps:
        if flags.config:
            module = configs.load_code(configs.found(flags.config))
            config, code = configs.built(module), (module, *code)
        else:
            config = checkpoint.config_of(flags.run, code)
        source = configs.override(config, fields, "jaxseg evaluate").data.source
        if maps:
            mapped = map_data.maps_of(source, maps, labels or maps)
            name = other_data.name_of(mapped, "map")
            return Asked(mapped, "test", "map", mapped, name, code)
        if flags.images:
            source = other_data.found_in(
                source, flags.images, flags.masks, flags.instances, flags.list
            )
    for name in ("masks", "instances", "list"):
        if getattr(flags, name) and not flags.images:
            raise UserError(f"--{name} needs --images: the images that belong to it.")
    split = flags.split or ("all" if flags.images else "test")
    if source is None:
        if split == other_data.ALL:
            raise UserError(
                "--split all is for other data: the run's own hold what it was trained on. Give "
                "--images and --masks, or --config."
            )
        return Asked(None, split, split, None, "", code)
    name = other_data.name_of(source, Path(flags.config).stem)
    if split != other_data.ALL:
        return Asked(source, split, split, source, name, code)
    called = Path(flags.list).stem or other_data.ALL
    return Asked(*other_data.everything(source), called, source, name, code)


def _check_map(flags: EvaluateFlags) -> None:
    """Rejects flags of maps that contradict each other."""
    if not flags.map and (flags.labels or flags.sample):
        raise UserError("--labels and --sample need --map: the map that they belong to.")
    if flags.map and not (flags.labels or flags.sample):
        raise UserError(f"--map {flags.map} needs --labels, or --sample for areas.")
    other = flags.images or flags.overlap or flags.split or flags.adapt != "none"
    if flags.map and other:
        raise UserError(
            "--map counts a map as it is: leave --images, --overlap, --split and --adapt out."
        )


def _refuse_other_fields(fields: list[str]) -> None:
    """Rejects flags that would change nothing: all but the data's source belongs to the run."""
    for field in fields:
        if field.startswith(("--config.", "--no-config.")) and ".data.source" not in field:
            name = field.partition("=")[0]
            raise UserError(
                f"{name}: of the config, an evaluation takes --config.data.source and its fields; "
                "the rest is the run's. Its own flags are --tile 512 for the size of windows, "
                "--overlap, --mesh.data and others: jaxseg evaluate --help."
            )
