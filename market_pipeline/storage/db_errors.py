"""The errors of the database.

StorageError
|-- DatabaseUnavailable   it cannot be reached or opened
|-- SchemaMismatch        its tables are not those of this version
|-- WriteFailed           it refused a write; nothing of it was stored
|   `-- WriteForbidden    this role, or this server, may only read
`-- ReadCancelled         the caller cancelled the read
"""


class StorageError(RuntimeError):
    """Base of all; the message never holds a password."""


class DatabaseUnavailable(StorageError):
    """The database cannot be reached or opened."""


class SchemaMismatch(StorageError):
    """The tables are not those that this version works with; `remedy` is what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


class WriteFailed(StorageError):
    """The database refused a write. Its transaction was rolled back."""


class WriteForbidden(WriteFailed):
    """The role may not write to the table, or the server is a read-only replica."""


class ReadCancelled(StorageError):
    """The caller cancelled the read."""


def sentences(message: str) -> str:
    """Put the lines of a driver's `message` on one line, each ended like a sentence."""
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    return " ".join(line if line[-1] in ".?!:" else f"{line}." for line in lines)
