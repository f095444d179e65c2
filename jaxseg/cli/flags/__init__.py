"""The flags of each command: frozen dataclasses whose docstrings are printed by `--help`."""
