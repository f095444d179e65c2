"""What a run is worth: every measure on a split, what single pixels reach, the report."""
