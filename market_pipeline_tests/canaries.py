"""Secrets that sing: a key and a password that must be found nowhere, and how they are looked for.

Both hold the same word, so that a part of them, or another spelling, is found as well.
"""

import base64
import traceback
from pathlib import Path

WORD = "Kanarienvogel"
KEY = "CG-Kanarienvogel7"
PASSWORD = "Kanarienvogel@9/Pw"
PASSWORD_IN_URL = "Kanarienvogel%409%2FPw"


def _in_base64() -> list[bytes]:
    """The word as a part of base64, wherever it begins in a group of three bytes."""
    spelt = []
    for before in range(3):
        text = base64.b64encode(b"x" * before + WORD.encode())
        # The first and the last group also depend on the neighbours.
        spelt.append(text[4:-4])
    return spelt


_IN_BASE64 = _in_base64()


def heard(where: str, text: str | bytes) -> list[str]:
    """Where in `text` a secret is, with its surroundings."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    places = [raw.lower().find(WORD.lower().encode()), *(raw.find(needle) for needle in _IN_BASE64)]
    return [f"{where}: {raw[max(0, at - 80):at + 80]!r}" for at in places if at >= 0]


def words_of(error: BaseException) -> str:
    """Everything that an exception tells: its text, what it carries, and its traceback."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "\n".join([str(error), repr(error), repr(vars(error)), repr(error.args), *lines])


def heard_in_files(folder: Path, *holders: Path) -> list[str]:
    """Where below `folder` a secret is, in names and in bytes, but for the files that have to hold it."""
    found = []
    for file in sorted(folder.rglob("*")):
        found += heard("name", str(file.relative_to(folder)))
        if file.is_file() and file not in holders:
            found += heard(str(file.relative_to(folder)), file.read_bytes())
    return found
