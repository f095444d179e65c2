"""Checks that an evaluated split does not contain pixels that the run was trained on."""

from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Located, Source


def refuse_trained_pixels(trained: Source, given: Source, split: str) -> None:
    """Compares a split with the training split of a run, source by source, if files are shared.

    If whole files are divided in another way, the split passes if none of its files was used for
    training; if parts of files are divided in another way, it is rejected.

    Raises:
        UserError: Pixels of the split may have been used for training.
    """
    if split == "train":
        return
    for own in leaves(trained):
        for other in leaves(given):
            _compare(own, other, split)


def _compare(trained: Source, given: Source, split: str) -> None:
    """Compares two sources that open files.

    Raises:
        UserError: Pixels of the split may have been used for training.
    """
    if not (isinstance(trained, Located) and isinstance(given, Located)):
        return
    own, other = trained.origin(), given.origin()
    if own.place != other.place or own.split == other.split:
        return
    train, test = trained.scenes("train"), given.scenes(split)
    seen = {train.name(index) for index in range(len(train))}
    for name in map(test.name, range(len(test))):
        if not own.whole or name in seen:
            names = own.split.keys() | other.split.keys()
            pairs = {n: (own.split.get(n), other.split.get(n)) for n in sorted(names)}
            changed = (f"{n} {one} -> {two}" for n, (one, two) in pairs.items() if one != two)
            raise UserError(
                f"{name}: the network may have been trained on pixels of the {split} split, as "
                f"the data are split in another way than the run's ({', '.join(changed)}). Split "
                "them as the run did."
            )
