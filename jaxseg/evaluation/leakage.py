"""Whether a split that is to be measured holds pixels that the run was trained on."""

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Source

SPLITTING = ("split", "split_by", "lists", "fractions", "block", "guard", "seed")
"""Fields of a source that decide which pixels train."""


def refuse_trained_pixels(trained: Source, given: Source, split: str) -> None:
    """Compares a split with what a run was trained on, where both are of the same files.

    Files that are split in another way pass if none of the split trained; parts of files do not.

    Raises:
        UserError: Pixels of the split may have been trained on.
    """
    trained, given = _innermost(trained), _innermost(given)
    one_scene = hasattr(trained, "block")
    place = "path" if one_scene else "images"
    if split == "train" or type(trained) is not type(given) or not hasattr(trained, place):
        return
    own, other = ({name: getattr(s, name, None) for name in SPLITTING} for s in (trained, given))
    if getattr(trained, place) != getattr(given, place) or own == other:
        return
    train, test = trained.scenes("train"), given.scenes(split)
    seen = {train.name(index) for index in range(len(train))}
    for name in map(test.name, range(len(test))):
        if one_scene or name in seen:
            changed = (f"{n} {own[n]} -> {other[n]}" for n in own if own[n] != other[n])
            raise UserError(
                f"{name}: the network may have been trained on pixels of the {split} split, for "
                f"the data are split in another way than the run's ({', '.join(changed)}). Split "
                "them as the run did."
            )


def _innermost(source: Source) -> Source:
    inner: Source | None = getattr(source, "source", None)
    return source if inner is None else _innermost(inner)
