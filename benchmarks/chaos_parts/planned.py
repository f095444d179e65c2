"""When a run is stopped, and how: drawn by a seed, every moment in turn."""

import dataclasses
import random
import signal

MOMENTS = ("start", "compile", "loop", "save", "validation", "end")
"""`start` is all before the compilation, imports included; `end` all behind the last step."""

SOFT = (
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGINT),
)


@dataclasses.dataclass(frozen=True)
class Stop:
    """Signals at a moment.

    Attributes:
        moment: One of `MOMENTS`.
        signals: One or two.
        share: Where in the moment, 0..1.
        ahead: For the loop: after how many steps.
        gap: Seconds between two signals.
        whom: The process that gets them; None = all.
    """

    moment: str
    signals: tuple[signal.Signals, ...]
    share: float
    ahead: int
    gap: float
    whom: int | None

    @property
    def kills(self) -> bool:
        """Whether no process can answer."""
        return self.signals == (signal.SIGKILL,)

    def __str__(self) -> str:
        """Such as `SIGINT SIGINT in the moment loop, process 1`."""
        who = "" if self.whom is None else f", process {self.whom}"
        return f"{' '.join(s.name for s in self.signals)} in {self.moment} ({self.share:.2f}){who}"


def plan(draw: random.Random, kills: int, soft: int, processes: int) -> list[Stop]:
    """The stops of a run, those at its end last."""
    stops, left = [], list[str]()
    for number in range(kills + soft):
        if not left or number == kills:
            left = draw.sample(MOMENTS, len(MOMENTS))
        whom = draw.randrange(processes) if processes > 1 and draw.random() < 0.5 else None
        signals = (signal.SIGKILL,) if number < kills else draw.choice(SOFT)
        share, ahead, gap = draw.random(), draw.randrange(1, 7), draw.uniform(0, 0.4)
        stops.append(Stop(left.pop(), signals, share, ahead, gap, whom))
    draw.shuffle(stops)
    return sorted(stops, key=lambda stop: stop.moment == "end")
