"""What belongs to the work at hand and stands in each of its lines, in a context variable.

Threads, asyncio tasks and requests have contexts of their own, so nothing leaks between them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar, cast

_Step = TypeVar("_Step")

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})
_END = object()


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every log line of this block carries `fields`, beside those of the blocks around it.

    Not around a `yield`: whoever asks the generator for its next step would carry them too. See `apart`.
    """
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def bind(**fields: Any) -> None:
    """Every further log line of this context, such as a task's, carries `fields`."""
    _fields.set({**_fields.get(), **fields})


def apart(steps: Iterator[_Step], **fields: Any) -> Iterator[_Step]:
    """What `steps` yields, each step made with `fields` bound; nothing is bound between them."""
    context = copy_context()
    context.run(bind, **fields)
    try:
        while (step := context.run(next, steps, _END)) is not _END:
            yield cast(_Step, step)
    finally:
        if close := getattr(steps, "close", None):
            context.run(close)


def current_fields() -> Mapping[str, Any]:
    """What is bound to the work at hand."""
    return _fields.get()


def current_trace_id() -> str | None:
    """The trace id of the work at hand; None outside of any."""
    trace_id: str | None = _fields.get().get("trace_id")
    return trace_id
