"""Lines about weights: one process of many shows them."""

import jax

from jaxseg.system.console import make_console, say


def say_once(text: str) -> None:
    """Shows a line, in the first process only."""
    if jax.process_index() == 0:
        say(make_console(), text)
