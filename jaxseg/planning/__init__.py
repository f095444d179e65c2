"""What a training step costs on machines that are not there, read from the compiler's program."""
