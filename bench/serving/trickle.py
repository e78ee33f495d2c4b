"""Thousands of connections that send a byte now and then, from several loopback addresses."""

from __future__ import annotations

import asyncio
import resource
import sys

EVERY = 2.0
"""Seconds between two bytes of one connection."""
HEAD = b"POST /v1/recommendations HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"a" * 10_000


async def trickle(address: str, port: int, counts: dict[str, int]) -> None:
    """One connection that never completes a request; opened again whenever the server ends it."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        except OSError:
            counts["refused"] += 1
            await asyncio.sleep(EVERY)
            continue
        counts["opened"] += 1
        counts["open"] += 1
        try:
            for place in range(len(HEAD)):
                writer.write(HEAD[place : place + 1])
                await writer.drain()
                await asyncio.sleep(EVERY)
        except OSError:
            pass
        finally:
            counts["open"] -= 1
            writer.close()


async def main() -> None:
    port, number, addresses = (int(word) for word in sys.argv[1:4])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = {"open": 0, "opened": 0, "refused": 0}
    tasks = [asyncio.create_task(trickle(f"127.0.0.{2 + one % addresses}", port, counts)) for one in range(number)]
    while counts["open"] + counts["refused"] < number:
        await asyncio.sleep(0.05)
    print(counts["open"], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(counts["open"], counts["opened"], counts["refused"], flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
