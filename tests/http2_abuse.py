"""Kinds of abuse of HTTP/2: the bytes that a hostile or broken client sends on one connection."""

import random
from collections.abc import Callable, Mapping

from tests.raw_http2 import (
    ACK,
    COMPLETE,
    EMPTY_MESSAGE,
    END_HEADERS,
    END_STREAM,
    PREFACE,
    Kind,
    fields,
    frame,
    number,
    request,
    request_fields,
)

PADDED, MAX_WINDOW = 0x8, (1 << 31) - 1
CANCEL = number(8)

_START = PREFACE + frame(Kind.SETTINGS)
_LOOSE_PSEUDO_FIELDS = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", COMPLETE), (b":authority", b"test"))


def setting(name: int, value: int) -> bytes:
    """One entry of a SETTINGS frame."""
    return name.to_bytes(2, "big") + number(value)


def call(stream: int, *more: tuple[bytes, bytes], path: bytes = COMPLETE, message: bytes = EMPTY_MESSAGE) -> bytes:
    """A whole gRPC call."""
    return request(stream, path, *more) + frame(Kind.DATA, message, stream=stream, flags=END_STREAM)


def header_block(block: bytes, *, flags: int = END_HEADERS | END_STREAM) -> bytes:
    """A HEADERS frame with any bytes."""
    return frame(Kind.HEADERS, block, stream=1, flags=flags)


def random_frames(count: int, seed: str) -> bytes:
    """Frames of known kinds with random flags, streams and payloads."""
    draw = random.Random(seed)
    return b"".join(
        frame(
            draw.randrange(11), draw.randbytes(draw.randrange(40)), stream=draw.randrange(8), flags=draw.randrange(256)
        )
        for _ in range(count)
    )


def flood(part: Callable[[int], bytes], count: int) -> bytes:
    """A part for each of the first client streams."""
    return b"".join(part(2 * index + 1) for index in range(count))


def _reset(stream: int) -> bytes:
    return request(stream) + frame(Kind.RST_STREAM, CANCEL, stream=stream)


def _answered_and_reset(stream: int) -> bytes:
    return call(stream) + frame(Kind.RST_STREAM, CANCEL, stream=stream)


def _expanding_field() -> bytes:
    """A field of 4,000 bytes that enters the table, and a call that refers to it 4,000 times."""
    first = request_fields() + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
    return header_block(first) + frame(Kind.HEADERS, b"\xbe" * 4000, stream=3, flags=END_HEADERS | END_STREAM)


WITHOUT_HTTP2: Mapping[str, bytes] = {
    "nothing but zeros": bytes(4096),
    "random bytes": random.Random("random bytes").randbytes(65_536),
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
    "HTTP/1.1 headers without end": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000,
    "a TLS handshake": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "half a preface": PREFACE[:10],
    "a preface alone": PREFACE,
    "a preface and half a frame": PREFACE + frame(Kind.SETTINGS)[:5],
    "two prefaces": PREFACE * 2,
    "no settings": PREFACE + call(1),
}
"""Sent as they are."""

WITH_HTTP2: Mapping[str, bytes] = {
    "10,000 random frames": random_frames(10_000, "10,000 random frames"),
    "10,000 frames of unknown kinds": b"".join(frame(10 + index % 200, b"x" * 9) for index in range(10_000)),
    "a frame of 16 MiB announced": b"\xff\xff\xff" + frame(Kind.DATA, b"x" * 9, stream=1)[3:],
    "a frame over the size limit": frame(Kind.DATA, bytes(1 << 22), stream=1),
    "data on stream 0": frame(Kind.DATA, b"x"),
    "headers on stream 0": frame(Kind.HEADERS, request_fields(), flags=END_HEADERS),
    "headers on an even stream": call(2),
    "data on an idle stream": frame(Kind.DATA, b"x", stream=9),
    "stream ids that fall": call(9) + call(7) + call(5),
    "the same stream twice": call(1) * 2,
    "the highest stream id": call(MAX_WINDOW),
    "a reset of an idle stream": frame(Kind.RST_STREAM, CANCEL, stream=77),
    "a reset of the wrong length": request(1) + frame(Kind.RST_STREAM, b"x", stream=1),
    "2,000 streams opened and reset": flood(_reset, 2000),
    "2,000 calls sent and reset": flood(_answered_and_reset, 2000),
    "2,000 streams opened": flood(request, 2000),
    "settings of the wrong length": frame(Kind.SETTINGS, b"x" * 7),
    "settings on a stream": frame(Kind.SETTINGS, stream=1),
    "settings out of range": frame(Kind.SETTINGS, setting(2, 2) + setting(4, 1 << 31) + setting(5, 0)),
    "unknown settings": frame(Kind.SETTINGS, b"".join(setting(name, name) for name in range(100, 2000))),
    "10,000 settings": frame(Kind.SETTINGS, setting(4, 65_535)) * 10_000,
    "settings acknowledged forever": frame(Kind.SETTINGS, flags=ACK) * 1000,
    "10,000 pings": frame(Kind.PING, bytes(8)) * 10_000,
    "10,000 pings acknowledged": frame(Kind.PING, bytes(8), flags=ACK) * 10_000,
    "a ping of the wrong length": frame(Kind.PING, b"x"),
    "a ping on a stream": frame(Kind.PING, bytes(8), stream=1),
    "a window update of 0": frame(Kind.WINDOW_UPDATE, number(0)),
    "a connection window beyond its limit": frame(Kind.WINDOW_UPDATE, number(MAX_WINDOW)) * 3,
    "a stream window beyond its limit": request(1) + frame(Kind.WINDOW_UPDATE, number(MAX_WINDOW), stream=1) * 3,
    "10,000 window updates of a byte": frame(Kind.WINDOW_UPDATE, number(1)) * 10_000,
    "no window for responses": frame(Kind.SETTINGS, setting(4, 0)) + flood(call, 50),
    "windows that open and close": (frame(Kind.SETTINGS, setting(4, 0)) + frame(Kind.SETTINGS, setting(4, 1 << 20)))
    * 1000
    + call(1),
    "a priority on itself": frame(Kind.PRIORITY, number(1) + b"\x10", stream=1),
    "10,000 priorities": b"".join(frame(Kind.PRIORITY, bytes(5), stream=index) for index in range(1, 10_000)),
    "a push promise": frame(Kind.PUSH_PROMISE, number(2) + request_fields(), stream=1, flags=END_HEADERS),
    "goaway before calls": frame(Kind.GOAWAY, number(0) + number(0)) + call(1),
    "1,000 times goaway": frame(Kind.GOAWAY, number(0) + number(11)) * 1000,
    "a continuation without headers": frame(Kind.CONTINUATION, request_fields(), stream=1, flags=END_HEADERS),
    "headers without end": request(1, flags=0),
    "headers with another frame between": request(1, flags=0) + frame(Kind.PING, bytes(8)),
    "10,000 continuations": request(1, flags=0)
    + frame(Kind.CONTINUATION, fields([(b"x", b"y" * 40)]), stream=1) * 10_000,
    "10,000 empty continuations": request(1, flags=0) + frame(Kind.CONTINUATION, stream=1) * 10_000,
    "a header index that does not exist": header_block(b"\xff\xff\x7f"),
    "a header length without end": header_block(b"\x00\x7f" + b"\xff" * 100),
    "a header table of 4 GiB": header_block(b"\x3f\xe1\xff\xff\xff\x0f" + request_fields()),
    "bad Huffman code": header_block(b"\x00\x84\xff\xff\xff\xff\x01x"),
    "a header that expands 4,000 times": _expanding_field(),
    "random header bytes": header_block(random.Random("random header bytes").randbytes(5000)),
    "padding longer than the frame": frame(Kind.DATA, b"\xff" + b"x" * 10, stream=1, flags=PADDED),
    "no fields at all": header_block(b""),
    "no path": header_block(fields([(b":method", b"POST"), (b":scheme", b"http"), (b"te", b"trailers")])),
    "two paths": header_block(fields([*_LOOSE_PSEUDO_FIELDS, (b":path", b"/x")])),
    "an upper-case name": header_block(request_fields(COMPLETE, (b"X-Upper", b"1"))),
    "a pseudo field after others": header_block(request_fields(COMPLETE, (b":late", b"1"))),
    "a field of the connection": call(1, (b"connection", b"close"), (b"transfer-encoding", b"chunked")),
    "GET": header_block(fields([(b":method", b"GET"), *_LOOSE_PSEUDO_FIELDS[1:]])),
    "CONNECT": header_block(fields([(b":method", b"CONNECT"), (b":authority", b"test")])),
    "another content type": header_block(fields([*_LOOSE_PSEUDO_FIELDS, (b"content-type", b"text/html")])),
    "100 KiB of fields": call(1, (b"x", b"y" * 100_000)),
    "5,000 fields": call(1, *((b"x-%d" % index, b"y") for index in range(5000))),
    "a field that is not base64": call(1, (b"x-bin", b"!!!!")),
    "fields that are not UTF-8": call(1, (b"x-\xff", b"\xff\xfe"), (b"authorization", b"\xff")),
    "a path that is not UTF-8": call(1, path=b"/\xff\xfe"),
    "an empty path": call(1, path=b""),
    "a timeout that is no number": call(1, (b"grpc-timeout", b"soonS")),
    "a timeout of no time": call(1, (b"grpc-timeout", b"0n")),
    "a timeout that is too long": call(1, (b"grpc-timeout", b"99999999999999999999H")),
    "trailers without end": request(1) + request(1),
    "a message of 4 GiB announced": call(1, message=b"\x00\xff\xff\xff\xff"),
    "a message that is cut off": call(1, message=b"\x00\x00\x00\x00\x09abc"),
    "a message compressed with nothing": call(1, message=b"\x01\x00\x00\x00\x01x"),
    "a message compressed with garbage": call(1, (b"grpc-encoding", b"gzip"), message=b"\x01\x00\x00\x00\x01x"),
    "a message with a wrong flag": call(1, message=b"\x7f\x00\x00\x00\x00"),
    "1,000 messages in a unary call": call(1, message=EMPTY_MESSAGE * 1000),
    "10,000 empty data frames": request(1) + frame(Kind.DATA, stream=1) * 10_000,
    "data after the end": call(1) + frame(Kind.DATA, b"x", stream=1) * 1000,
}
"""Sent after the preface and empty settings."""

ABUSE: Mapping[str, bytes] = {**WITHOUT_HTTP2, **{name: _START + data for name, data in WITH_HTTP2.items()}}
