"""The one exception that means "what you gave us is wrong", raised by every room."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(Exception):
    """Wrong input or usage: the message is one paragraph that says what is wrong, in which file, and what to do.

    The command line prints the message alone (no traceback) and exits with code 3.
    """
