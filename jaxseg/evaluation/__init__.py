"""What a run is worth: every measure on a split, per-pixel baselines, the report."""
