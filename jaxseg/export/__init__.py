"""Trained networks for other programs: StableHLO and ONNX, with what their numbers mean beside."""
