"""The ledger's head, noted in a file outside the database: so a ledger whose end was cut off is noticed."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guard.errors import InputError
from serving.ledger import Head

HEAD_FILE = "ledger.head"

_log = logging.getLogger(__name__)


class HeadFile:
    """A file that follows the ledger forward, and never goes back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._silent = False

    def read(self) -> Head | None:
        """The head noted last; None without a file.

        Raises:
            InputError: the file cannot be read or holds something else.
        """
        try:
            text = self.path.read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path} cannot be read ({type(error).__name__})") from None
        try:
            return Head.parse(text)
        except InputError:
            raise InputError(
                f"{self.path} holds no head of a ledger; remove it once the ledger is known to be whole"
            ) from None

    def move(self, head: Head) -> None:
        """Notes a later head. A failure is logged, not raised: the entries themselves are safe already."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(self.path.parent):
                known = self.read()
                if known is None or known.entry < head.entry:
                    self._write(head)
            self._silent = False
        except (OSError, InputError) as error:
            self.complain(f"the ledger's head is not noted ({error})")

    def complain(self, message: str) -> None:
        """Logs an error that would otherwise come with every entry: once."""
        if not self._silent:
            _log.error("%s", message)
        self._silent = True

    def _write(self, head: Head) -> None:
        fresh = self.path.with_name(f".{self.path.name}-{secrets.token_hex(8)}")
        try:
            with fresh.open("x", encoding="ascii") as file:
                file.write(f"{head}\n")
                file.flush()
                # An empty file after a power cut would look like an attack.
                os.fsync(file.fileno())
            fresh.replace(self.path)
        finally:
            fresh.unlink(missing_ok=True)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keeps other threads and processes from noting their head meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
