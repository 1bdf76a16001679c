"""Turn good answers into hostile ones: other values, other structure, other bytes, other headers."""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.hostile_server import Bytes

# Written as text after the document is serialised: Python writes none of them.
_LITERALS = ("1e400", "-1e400", "9" * 400, "9" * 6_000, "[" * 2_000 + "]" * 2_000, "0x10", "1_000", "+1", "01", "'a'")
_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, -0.0, 1e-320, 1e299, 1e300, 1e308, float("nan"), float("inf"), -float("inf"),
    2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 253_402_300_800, 253_402_300_800_000, 10**18, -62_135_596_801,
    "", "1e5", "NaN", "\x00", "\ud800", "\u202e\u0085\u2028", "\U0001f4a5" * 300, "'; DROP TABLE raw_prices; --",
    "%s%n", "${jndi:ldap://x}", "A" * 100_000, [], {}, [[]], [None, None], {"usd": {"usd": 1}}, [1, 2, 3],
    {"error": "x"}, {"status": {"error_code": 429, "error_message": "x"}}, {"error_code": 10**30},
)
_WAITS = (
    "0", "1", "-1", "3600", "1e309", "nan", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "\xff", "",
    "Mon, 01 Jan 0001 00:00:00 GMT", "1,2", " 5 ", "\u0661".encode().decode("latin-1"),
)
_STATUSES = (
    100, 101, 199, 200, 201, 204, 206, 299, 300, 301, 302, 304, 307, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414,
    418, 422, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 511, 520, 522, 530, 599, 600, 999, 0, -1, 10_000,
)
_NAMES = ("status", "error", "error_code", "prices", "usd", "last_updated_at", "__proto__", "", "\x00", "a" * 5_000)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer before it is written."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def written(self, *, stays: bool = False) -> Bytes:
        """Return the bytes of the answer."""
        headers = {"Content-Length": str(len(self.body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"HTTP/1.1 {self.status} X\r\n{head}{'' if stays else 'Connection: close'}".rstrip()
        return Bytes(f"{start}\r\n\r\n".encode("utf-8", "surrogateescape") + self.body, stays=stays)


def other_values(rng: random.Random, document: Any) -> bytes:
    """Return the JSON `document` with a few of its values replaced, removed, doubled or renamed."""
    literals: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        document = _changed(rng, document, literals)
    text = json.dumps(document)
    for number, literal in enumerate(literals):
        text = text.replace(f'"@{number}@"', literal)
    return text.encode("utf-8", "surrogatepass")


def _changed(rng: random.Random, node: Any, literals: list[str]) -> Any:
    """Return `node` with one change, the deeper the likelier."""
    if isinstance(node, dict) and node and rng.random() < 0.85:
        name = rng.choice(list(node))
        return {**node, name: _changed(rng, node[name], literals)}
    if isinstance(node, list) and node and rng.random() < 0.85:
        place = rng.randrange(len(node))
        return [*node[:place], _changed(rng, node[place], literals), *node[place + 1 :]]
    return rng.choice((_replaced, _replaced, _rearranged))(rng, node, literals)


def _replaced(rng: random.Random, _node: Any, literals: list[str]) -> Any:
    if rng.random() < 0.25:
        literals.append(rng.choice(_LITERALS))
        return f"@{len(literals) - 1}@"
    return rng.choice(_VALUES)


def _rearranged(rng: random.Random, node: Any, _literals: list[str]) -> Any:
    if isinstance(node, list):
        return rng.choice((node * 50, node[::-1], node[:-1], [node], rng.sample(node, len(node))))
    if isinstance(node, dict):
        renamed = {rng.choice((name, name, rng.choice(_NAMES))): value for name, value in node.items()}
        return rng.choice((renamed, {**node, **{str(n): node for n in range(50)}}, list(node.items())))
    if isinstance(node, (int, float)) and not isinstance(node, bool):
        return rng.choice((-node, node * 1_000, node / 1_000, str(node), [node], node + rng.random()))
    return [node, node]


def other_bytes(rng: random.Random, body: bytes, others: Sequence[bytes]) -> bytes:
    """Return `body` with flipped, missing, doubled, foreign or random bytes."""
    damaged = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        start = rng.randrange(len(damaged) + 1)
        end = min(len(damaged), start + rng.choice((1, 2, 8, 64, 1_024)))
        other = rng.choice(others)
        piece = rng.randrange(len(other) + 1)
        damaged[start:end] = rng.choice((
            b"", bytes(damaged[start:end]) * 2, rng.randbytes(end - start), other[piece : piece + 256],
            bytes(byte ^ (1 << rng.randrange(8)) for byte in damaged[start:end]),
        ))
    return bytes(damaged[: rng.randrange(len(damaged) + 1)] if rng.random() < 0.1 else damaged)


def other_headers(rng: random.Random, reply: Reply) -> Bytes:
    """Return the bytes of `reply` with a wrong frame around its body."""
    change: Callable[[random.Random, Reply], Bytes] = rng.choice((
        _waits, _status, _lengths, _encodings, _chunks, _many, _broken_head, _two_answers, _slow, _informational,
    ))
    return change(rng, reply)


def _waits(rng: random.Random, reply: Reply) -> Bytes:
    names = ("Retry-After", "x-ratelimit-reset", "Date")
    headers = {name: rng.choice(_WAITS) for name in names if rng.random() < 0.6}
    return Reply(rng.choice((429, 503, 200, 408)), reply.body, {**reply.headers, **headers}).written()


def _status(rng: random.Random, reply: Reply) -> Bytes:
    headers = {**reply.headers, "Location": rng.choice(("/", "http://[", "http://127.0.0.1:1/", "file:///etc/passwd"))}
    return Reply(rng.choice(_STATUSES), reply.body, headers).written()


def _lengths(rng: random.Random, reply: Reply) -> Bytes:
    length = rng.choice((str(len(reply.body) + 7), str(max(0, len(reply.body) - 7)), "-1", "1e3", "9" * 30, "", "x"))
    return Reply(reply.status, reply.body, {**reply.headers, "Content-Length": length}).written()


def _encodings(rng: random.Random, reply: Reply) -> Bytes:
    packed = gzip.compress(reply.body, mtime=0)
    name, body = rng.choice((
        ("gzip", packed), ("gzip", packed[: len(packed) // 2]), ("gzip", reply.body), ("gzip", packed * 3),
        ("gzip", gzip.compress(b"[" * 20_000_000, mtime=0)), ("deflate", zlib.compress(reply.body)),
        ("deflate", reply.body), ("gzip, gzip", gzip.compress(packed, mtime=0)), ("br", reply.body), ("\xff", b""),
        ("gzip, " * 20 + "gzip", packed),
    ))
    return Reply(reply.status, body, {**reply.headers, "Content-Encoding": name}).written()


def _chunks(rng: random.Random, reply: Reply) -> Bytes:
    size = rng.choice((f"{len(reply.body):x}", "-1", "ffffffffffffffff", "x", "", f"{len(reply.body):x};a=b", "1"))
    end = rng.choice((b"\r\n0\r\n\r\n", b"", b"\r\n", b"\r\n0\r\nX: y\r\n\r\n"))
    head = f"HTTP/1.1 {reply.status} X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{size}\r\n"
    return Bytes(head.encode() + reply.body + end)


def _many(rng: random.Random, reply: Reply) -> Bytes:
    count, size = rng.choice(((90, 10), (101, 10), (1_000, 10), (3, 20_000), (3, 70_000)))
    headers = {f"X-{number}": "a" * size for number in range(count)}
    return Reply(reply.status, reply.body, {**reply.headers, **headers}).written()


def _broken_head(rng: random.Random, reply: Reply) -> Bytes:
    start = rng.choice((
        b"HTTP/1.1\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 200\n\n",
        b"HTTP/1.1 2000000000000 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n: nothing\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00", b"HTTP/1.1 200 " + b"A" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
    ))
    return Bytes(start + reply.body)


def _two_answers(rng: random.Random, reply: Reply) -> Bytes:
    """A second answer behind the first, on a connection that stays: the next request must not take it for its own."""
    first = reply.written(stays=True)
    second = rng.choice((first.data, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", rng.randbytes(200)))
    return Bytes(first.data + second, stays=True)


def _slow(rng: random.Random, reply: Reply) -> Bytes:
    return Bytes(reply.written().data, piece=rng.choice((1, 40)), pause=0.05)


def _informational(rng: random.Random, reply: Reply) -> Bytes:
    return Bytes(b"HTTP/1.1 102 Processing\r\n\r\n" * rng.choice((1, 3, 500)) + reply.written().data)


def random_bytes(rng: random.Random) -> Bytes:
    """Return random bytes, as a body or instead of an HTTP answer."""
    noise = rng.randbytes(rng.choice((0, 1, 10, 1_000, 100_000)))
    if rng.random() < 0.5:
        return Bytes(noise)
    return Reply(200, noise, {"Content-Type": "application/json"}).written()
