"""A bare FastAPI answer under the worker's uvicorn settings: the limit that everything else is seen against."""

from __future__ import annotations

import gc
import socket

import uvicorn
from fastapi import FastAPI


def main() -> None:
    """Serve until killed; prints the port once it listens."""
    app = FastAPI()

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"status": "ok"}

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    print(listening.getsockname()[1], flush=True)
    gc.freeze()
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
