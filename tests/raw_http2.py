"""HTTP/2 frames written by hand, for requests that no gRPC client would send."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
COMPLETE = b"/onward.v1.CompletionService/Complete"
EMPTY_MESSAGE = b"\x00\x00\x00\x00\x00"
"""A gRPC message of no bytes, with its prefix."""

END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1


class Kind(IntEnum):
    """Frame types."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """A frame; nothing is checked."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    """Four bytes, as settings, window updates and error codes have them."""
    return value.to_bytes(4, "big")


def fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encodes header fields with HPACK: each a literal that is not indexed and not compressed."""
    return b"".join(b"\x00" + _literal(name) + _literal(value) for name, value in headers)


def request_fields(path: bytes = COMPLETE, *more: tuple[bytes, bytes]) -> bytes:
    """The encoded header fields of a gRPC request."""
    return fields(
        (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"test"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *more,
        )
    )


def request(stream: int, path: bytes = COMPLETE, *more: tuple[bytes, bytes], flags: int = END_HEADERS) -> bytes:
    """The HEADERS frame that opens a stream with a gRPC request."""
    return frame(Kind.HEADERS, request_fields(path, *more), stream=stream, flags=flags)


def _literal(text: bytes) -> bytes:
    """A string with its length as an integer of a 7-bit prefix."""
    length, encoded = len(text), bytearray()
    if length < 127:
        return bytes([length]) + text
    length -= 127
    while length >= 128:
        encoded.append(length % 128 + 128)
        length //= 128
    return bytes([127, *encoded, length]) + text


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *frames: bytes) -> None:
        """Writes bytes. Returns early if the server has closed the connection, which it may do at any time."""
        try:
            self.writer.writelines(frames)
            await self.writer.drain()
        except ConnectionError:
            return

    async def read_to_end(self) -> bytes:
        """Returns what the server sends until it closes the connection."""
        received = bytearray()
        try:
            while data := await self.reader.read(1 << 16):
                received += data
        except ConnectionError:
            pass
        return bytes(received)

    async def acknowledge_settings(self) -> None:
        """Waits for the settings of the server and acknowledges them."""
        while True:
            head = await self.reader.readexactly(9)
            await self.reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == Kind.SETTINGS and not head[4] & ACK:
                await self.send(frame(Kind.SETTINGS, flags=ACK))
                return

    async def is_answered(self, stream: int, *kinds: Kind) -> None:
        """Returns once the server has sent a frame of these kinds on the stream; acknowledges settings and pings.

        Without kinds, HEADERS and RST_STREAM are waited for.

        Raises:
            EOFError: The server closed the connection before.
        """
        while True:
            head = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags, on = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind in (Kind.SETTINGS, Kind.PING) and not flags & ACK:
                await self.send(frame(kind, b"" if kind == Kind.SETTINGS else payload, flags=ACK))
            if on == stream and kind in (kinds or (Kind.HEADERS, Kind.RST_STREAM)):
                return


@asynccontextmanager
async def connected(address: str) -> AsyncGenerator[Connection]:
    """Opens a connection to `HOST:PORT` or `unix:PATH`, and closes it without sending anything."""
    if address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def http2(address: str) -> AsyncGenerator[Connection]:
    """Opens a connection and sends the preface with empty settings."""
    async with connected(address) as connection:
        await connection.send(PREFACE, frame(Kind.SETTINGS))
        yield connection
