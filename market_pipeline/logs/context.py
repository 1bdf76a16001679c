"""Context fields: bound once, present in every log line of the current work.

Threads, asyncio tasks and requests have their own contexts, so fields do not leak between them.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import MappingProxyType
from typing import Any, TypeVar, cast

_Step = TypeVar("_Step")

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default=MappingProxyType({}))
_END = object()


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add `fields` to every log line of this block, on top of those of the enclosing blocks.

    Do not use it around a `yield`: the fields would leak into the generator's caller. Use `apart` there.
    """
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def bind(**fields: Any) -> None:
    """Add `fields` to every further log line of this context, such as that of a task."""
    _fields.set({**_fields.get(), **fields})


def apart(steps: Iterator[_Step], **fields: Any) -> Generator[_Step, None, None]:
    """Yield from `steps`, with `fields` bound during each step and not between steps."""
    context = copy_context()
    context.run(bind, **fields)
    try:
        while (step := context.run(next, steps, _END)) is not _END:
            yield cast(_Step, step)
    finally:
        if close := getattr(steps, "close", None):
            context.run(close)


def current_fields() -> Mapping[str, Any]:
    """Return the fields bound in this context."""
    return _fields.get()


def current_trace_id() -> str | None:
    """Return the trace id bound in this context, or None."""
    trace_id: str | None = _fields.get().get("trace_id")
    return trace_id
