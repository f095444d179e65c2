"""How far a map is: megapixels, their rate, and the time that is left."""

import time

from jaxseg.system.console import clock, make_console, progress_bar, say

SECONDS = 10.0
"""Between two lines where there is no terminal."""


class Meter:
    """Shows megapixels, their rate and the time that is left."""

    def __init__(self, pixels: int) -> None:
        """Starts at once.

        Args:
            pixels: To be mapped.
        """
        self._pixels, self._done = pixels, 0
        self._console = make_console()
        self._bar = progress_bar(self._console)
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "Meter":
        """Shows the bar."""
        self._bar.start()
        self._task = self._bar.add_task("mapping", total=self._pixels / 10**6, note="compiling")
        if self._bar.disable:
            say(self._console, f"mapping {self._pixels / 1e6:.2f} megapixels ...")
        return self

    def __exit__(self, *_: object) -> None:
        """Takes it away."""
        self._bar.stop()

    def add(self, pixels: int) -> None:
        """Pixels that are done."""
        self._done += pixels
        now = time.monotonic()
        rate = self._done / (now - self._began)
        note = f"{rate / 1e6:.2f} Mpx/s  ETA {clock((self._pixels - self._done) / rate)}"
        self._bar.update(self._task, completed=self._done / 10**6, note=note)
        if self._bar.disable and now - self._told > SECONDS:
            self._told = now
            say(
                self._console,
                f"mapping {self._done / 1e6:.2f}/{self._pixels / 1e6:.2f} Mpx  {note}",
            )
