"""Networks in PyTorch, with the names that their reference implementations give to weights."""
