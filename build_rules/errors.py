"""The one exception that means "what you gave us is wrong", raised by every room, and how its text is shown."""

from __future__ import annotations

__all__ = ["InputError", "printable"]


class InputError(Exception):
    """Wrong input or usage: the message is one paragraph that says what is wrong, in which file, and what to do.

    The command line prints the message alone (no traceback) and exits with code 3. `paste` are lines that the person
    may copy into a file of theirs; they are printed as they are, below the message. `facts` is given where the message
    judges what was found, as the proof of a cut does.
    """

    def __init__(self, message: str, paste: str = "", facts: str = "") -> None:
        super().__init__(message)
        self.paste = paste
        self._facts = facts

    @property
    def facts(self) -> str:
        """The message without a verdict or advice that would be wrong if the input was changed meanwhile."""
        return self._facts or str(self)

    def within(self, place: object) -> InputError:
        """Return the same error, told of a file or another place."""
        return InputError(f"{place}: {self}", self.paste, self._facts and f"{place}: {self._facts}")

    def printed(self) -> str:
        """Return what is shown: the message as one line, then the lines to copy."""
        return "\n".join(map(printable, [str(self), *self.paste.splitlines()]))


def printable(text: str) -> str:
    """Return text as one line that cannot steer a terminal: names and messages may come from files of any origin.

    White space that breaks lines becomes a blank; other characters that print nothing (escapes, changes of direction,
    lone surrogates) become the replacement character.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
