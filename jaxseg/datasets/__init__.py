"""Labelled collections: one file each, a frozen dataclass that fulfils `jaxseg.batch.Source`."""
