"""Labelled collections: one file each, a frozen dataclass that fulfils `jaxseg.scenes.Source`."""
