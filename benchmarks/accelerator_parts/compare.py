"""One network in JAX and PyTorch, in turns on one device: the ratio of their times."""

import statistics
import time

from accelerator_parts.workers import Facts, Lost, Note, Worker


def compare(
    ours: Worker, theirs: Worker, request: Facts, *, compiles: bool, deadline: float, note: Note
) -> Facts:
    """Medians of both sides' steps, and their ratios.

    Args:
        ours: The worker of JAX.
        theirs: The worker of PyTorch.
        request: Network, batch and whether sizes are tiny.
        compiles: Whether to try `torch.compile` too.
        deadline: Until when, by `time.monotonic`.
        note: Shows how far it is.

    Returns:
        Also what both said when they prepared; `lost` says why the compiler was given up.

    Raises:
        Lost: One side failed or took too long, or they are not the same network.
    """
    request = request | {"do": "prepare"}
    found, lost = _prepared(ours, theirs, request, compiles, deadline, note)
    if found["torch"]["batch"] != request["batch"]:  # it was halved until it fitted
        request = request | {"batch": found["torch"]["batch"]}
        found["jaxseg"] = ours.ask(request, _left(deadline), note)
    here, there = (found[side]["parameters"] for side in ("jaxseg", "torch"))
    if here != there:
        said = f"{here} parameters here and {there} in PyTorch: not the same network"
        raise Lost("failed", said)
    which = ["eager", *["compiled"] * (found["torch"]["compiled"] == "done")]
    taken: dict[str, list[float]] = {name: [] for name in ("jaxseg", *which)}
    rounds, steps = (2, 2) if request["tiny"] else (5, 5)
    for number in range(rounds):
        note(f"turn {number + 1} of {rounds}")
        for name, seconds in taken.items():
            worker = ours if name == "jaxseg" else theirs
            turn = {"do": "turn", "which": name, "steps": steps}
            seconds += worker.ask(turn, _left(deadline))["seconds"]
    theirs.ask({"do": "release"}, 30)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    ratios = {name: medians["jaxseg"] / medians[name] for name in which}
    return {"batch": request["batch"], "medians": medians, "ratios": ratios, "lost": lost} | found


def _prepared(
    ours: Worker, theirs: Worker, request: Facts, compiles: bool, deadline: float, note: Note
) -> tuple[Facts, str | None]:
    """Both prepare at once; PyTorch again without its compiler, where that takes too long."""
    theirs.send(request | {"compile": compiles})
    try:
        found = {"jaxseg": ours.ask(request, _left(deadline), note)}
    except Lost:
        theirs.stop()
        raise
    try:
        # The rest of the time is for a second try and for the turns.
        share = 0.7 if compiles else 1.0
        return found | {"torch": theirs.receive(share * _left(deadline), note)}, None
    except Lost as lost:
        if not compiles or lost.status == "left out":
            raise
        reason = lost.reason
    found["torch"] = theirs.ask(request | {"compile": False}, _left(deadline), note)
    return found, reason


def _left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())
