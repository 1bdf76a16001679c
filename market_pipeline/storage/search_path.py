"""PostgreSQL's search path: which one a URL asks for, and the names in it."""

import re

from sqlalchemy import URL

# Among libpq's `options`, which are separated by spaces; a backslash escapes one. The last one counts.
_OPTION = re.compile(r"(?:-c\s*|--)search_path=((?:\\.|[^\s\\])*)")
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')


def requested_path(url: URL) -> str | None:
    """Return the search path that the options of `url` set; None if they leave it to the server."""
    found = _OPTION.findall(_options(url))
    return re.sub(r"\\(.)", r"\1", found[-1]) if found else None


def with_options(url: URL, **settings: str) -> URL:
    """Return `url` with `settings` of its sessions after its own, over which they win; values are plain names."""
    own = [f"-c{name}={value}" for name, value in settings.items()]
    return url.update_query_dict({"options": " ".join([*_options(url).split(" "), *own]).strip()})


def schemas_of(path: str) -> list[str]:
    """Return the schemas of a search path, unquoted ones in lower case as PostgreSQL reads them."""
    return [
        match[1].replace('""', '"') if match[1] is not None else match[2].lower()
        for match in _NAME.finditer(path)
    ]


def _options(url: URL) -> str:
    given = url.query.get("options", "")
    return given if isinstance(given, str) else " ".join(given)
