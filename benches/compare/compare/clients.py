"""Clients that a load generator does not have: idle ones, ones that all wait at once, ones that leave."""

import asyncio
import resource
import ssl
import time

from machine import LOAD_CORE


def context(protocol="http/1.1"):
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols([protocol])
    return made


def allow_descriptors():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def connect(port, tls, gate):
    async with gate:
        return await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=4096)


async def connect_many(port, count):
    """Connections, all past their handshake."""
    tls, gate = context(), asyncio.Semaphore(32)
    return await asyncio.gather(*(connect(port, tls, gate) for _ in range(count)))


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def ask(stream, path):
    """One request; its status and how long it took."""
    reader, writer = stream
    began = time.monotonic()
    writer.write(request(path))
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1]), time.monotonic() - began


async def ask_and_leave(port, path, tls, after):
    """Asks on a connection of its own, and is gone before the answer."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(request(path))
    await writer.drain()
    await asyncio.sleep(after)
    writer.transport.abort()


async def close_all(streams):
    for _, writer in streams:
        writer.transport.abort()
    await asyncio.sleep(0.5)
