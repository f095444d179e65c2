"""Trackers of experiments beside the logbook: Weights & Biases, MLflow, Trackio.

A tracker is chosen by `--track`, is imported only then, and gets what the logbook gets. Each has
a file, and `watched.py` keeps the failures of all of them away from the run.
"""
