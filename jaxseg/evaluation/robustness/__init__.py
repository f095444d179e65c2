"""How a run fares where images are corrupted, or changed to fool it."""
