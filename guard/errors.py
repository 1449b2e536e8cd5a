"""The exception tree. Each class also is the standard error it refines, and survives pickling.

LetheError
├── TargetError      (ValueError)    a forget target is malformed; names the field, never the target's text
├── TargetNotFound   (KeyError)      no target has this id
├── TargetExists     (ValueError)    a target with this id is registered already
├── TargetChanged    (RuntimeError)  what a change was meant for is not there any more as its sender saw it
├── TokenReused      (ValueError)    an idempotency key came before, with another request
├── RevisionGone     (LookupError)   a revision of the targets is unknown or too old to go back to
├── SnapshotError    (RuntimeError)  a snapshot directory is missing, damaged or of another format
├── VocabularyError  (ValueError)    a tokenizer's tokens cannot be read as bytes
├── InputError       (ValueError)    a file or argument given by the user cannot be used
└── GuardInactive    (RuntimeError)  the engine runs without the guard, so the server must not serve
"""


class LetheError(Exception):
    """The common base: catch it to catch everything this project raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return str(self.args[0]) if self.args else ""


class TargetError(LetheError, ValueError):
    """A forget target is malformed. The message names the field and the fix."""


class TargetNotFound(LetheError, KeyError):
    """No target has this id."""


class TargetExists(LetheError, ValueError):
    """A target with this id is registered already."""


class TargetChanged(LetheError, RuntimeError):
    """What a change was meant for is not there any more as its sender saw it."""


class TokenReused(LetheError, ValueError):
    """An idempotency key came before, with another request."""


class RevisionGone(LetheError, LookupError):
    """A revision of the targets is unknown or too old to go back to."""


class SnapshotError(LetheError, RuntimeError):
    """A snapshot directory is missing, damaged or of another format."""


class VocabularyError(LetheError, ValueError):
    """A tokenizer's tokens cannot be read as bytes."""


class InputError(LetheError, ValueError):
    """A file or argument given by the user cannot be used."""


class GuardInactive(LetheError, RuntimeError):
    """The engine runs without the guard, so the server must not serve."""
