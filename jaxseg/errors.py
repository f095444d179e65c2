"""The error a user can provoke: what was given, what is allowed, what to do."""


class UserError(ValueError):
    """A mistake that its message explains; the command line prints it without a traceback."""
