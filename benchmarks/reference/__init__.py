"""Networks in PyTorch, with the weight names of their reference implementations."""
