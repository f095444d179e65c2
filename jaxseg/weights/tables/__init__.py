"""Where the tensors of reference implementations go: one table per family."""
