"""What a program has from its machine: disk, screen, signals, limits, and the user's cache.

Nothing heavy is imported here, because a command watches its signals from its first line on.
"""
