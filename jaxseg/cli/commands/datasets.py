"""The commands about data: `data`, `pack`, `new`, `border`, `class-weights`, `polsar`."""

import functools
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import tyro

from jaxseg import config as configs
from jaxseg.cli import border_pictures, new_array_config, new_config, polsar_pictures
from jaxseg.cli import data as data_tables
from jaxseg.cli.commands.frame import CONTINUES, Mistakes, code_of, divided, progress, start
from jaxseg.cli.flags.datasets import (
    BorderFlags,
    ClassWeightsFlags,
    DataFlags,
    NewFlags,
    PackFlags,
    PolsarFlags,
)
from jaxseg.datasets.arrays import guess as array_guess
from jaxseg.datasets.folder import guess
from jaxseg.datasets.leakage import check_splits
from jaxseg.datasets.packed import index as packed
from jaxseg.datasets.packed import writer
from jaxseg.errors import UserError
from jaxseg.evaluation import own_data
from jaxseg.losses import class_counts
from jaxseg.pictures.written import write_figure
from jaxseg.run import checkpoint
from jaxseg.system.console import make_console, say


def data(arguments: list[str] | None = None) -> None:
    """The command `jaxseg data`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
        flags = tyro.cli(DataFlags, args=own, prog="jaxseg data")
        if bool(flags.config) == bool(flags.images and flags.masks):
            raise UserError("Give a config, or --images and --masks.")
        start()
        console = make_console()
        if flags.config:
            config = configs.override(configs.load_config(flags.config), fields, "jaxseg data")
            source, allowed = config.data.source, config.data.shared_ground
        else:
            allowed = 0.0
            source = data_tables.source_of(flags.images, flags.masks, console)
        data_tables.show(source, console, allowed)
        for picture in data_tables.write_pictures(source, flags.out):
            say(console, f"Picture: {picture}")


def pack(arguments: list[str] | None = None) -> None:
    """The command `jaxseg pack`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes(CONTINUES):
        own, fields = divided(arguments)
        flags = tyro.cli(PackFlags, args=own, prog="jaxseg pack")
        console = make_console()
        shown = functools.partial(progress, console, "files")
        if flags.out is None and not flags.check:
            raise UserError("Give the folder of the pack behind the config: packs/fields.")
        say(console, f"jaxseg: {flags.config} -> {flags.out or 'checked'}")
        out = Path(flags.config) if flags.out is None else flags.out
        if flags.out is not None:
            data = configs.override(configs.load_config(flags.config), fields, "jaxseg pack").data
            check_splits(data.source, data.shared_ground)
            how = {"compress": flags.compress}
            writer.pack(data.source, out, flags.tile, data.threads, shown, **how)
        found = writer.check(out, shown) if flags.check else packed.opened(str(out))
        scenes = ", ".join(f"{len(split.names)} {name}" for name, split in found.splits.items())
        say(console, f"{out}: {scenes} scenes{', as they were written' if flags.check else ''}")
        say(console, f'In a config: data=Data(source=Packed("{out}"))')


def new(arguments: list[str] | None = None) -> None:
    """The command `jaxseg new`."""
    with Mistakes():
        flags = tyro.cli(NewFlags, args=arguments, prog="jaxseg new")
        if array_guess.are_arrays(flags.images):
            scene = array_guess.guess_scene(flags.images, flags.masks)
            count, bands = 1, scene.bands
            content = new_array_config.text(scene, flags.file.name)
        else:
            found = guess.guess(flags.images, flags.masks)
            count, bands = found.scenes, found.bands
            content = new_config.text(found, flags.file.name)
        new_config.write(content, flags.file, overwrite=flags.overwrite)
        console = make_console()
        say(console, f"{flags.file}: {count} scene(s), {bands} band(s).")
        say(console, f"Look at it, then: python train.py --config {flags.file}")


def border(arguments: list[str] | None = None) -> None:
    """The command `jaxseg border`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
        flags = tyro.cli(BorderFlags, args=own, prog="jaxseg border")
        if flags.count < 1 or flags.file.suffix != ".png":
            raise UserError(
                f"--count {flags.count}, file {flags.file}: at least one window, and a name that "
                "ends in .png."
            )
        start()
        held: AbstractContextManager[None] = nullcontext()
        if flags.config.is_dir():
            config = checkpoint.config_of(flags.config, code_of(flags.code))
            config = configs.override(config, fields, "jaxseg border")
            source, console = config.data.source, make_console()
            held = own_data.opened(flags.config, source, make=flags.make, console=console)
        else:
            config = configs.load_config(str(flags.config))
            config = configs.override(config, fields, "jaxseg border")
        with held:
            figure = border_pictures.border_figure(config, flags.split, flags.count)
        write_figure(figure, flags.file)
        say(make_console(), f"Border weights of the {flags.split} split: {flags.file}")


def class_weights(arguments: list[str] | None = None) -> None:
    """The command `jaxseg class-weights`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with Mistakes():
        own, fields = divided(arguments)
        flags = tyro.cli(ClassWeightsFlags, args=own, prog="jaxseg class-weights")
        start()
        config = configs.override(configs.load_config(flags.config), fields, "jaxseg class-weights")
        source, console = config.data.source, make_console()
        counts = class_counts.class_counts(
            source, threads=config.data.threads, console=console, recount=flags.recount
        )
        class_counts.print_class_weights(console, source.classes, counts)


def polsar(arguments: list[str] | None = None) -> None:
    """The command `jaxseg polsar`."""
    with Mistakes():
        flags = tyro.cli(PolsarFlags, args=arguments, prog="jaxseg polsar")
        if flags.average < 0 or not flags.looks >= 0:  # NaN is not
            raise UserError(
                f"--average {flags.average}, --looks {flags.looks}: both must be 0 or more."
            )
        if flags.average and flags.average % 2 == 0:
            raise UserError(
                f"--average {flags.average}: a mean around a pixel needs an odd number of rows and "
                "columns."
            )
        if flags.out.exists() and not flags.out.is_dir():
            raise UserError(f"--out {flags.out} is a file: name a folder for the pictures.")
        start()
        console = make_console()
        found = polsar_pictures.survey(flags.path, console)
        polsar_pictures.show(found, console)
        pictures = polsar_pictures.figures(found, average=flags.average, looks=flags.looks)
        for name, figure in pictures.items():
            write_figure(figure, flags.out / f"{name}.png", tight=True)
        say(console, f"Pictures: {flags.out}/ {', '.join(pictures)}")
