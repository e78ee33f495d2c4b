"""Routes of models: which there are, which serves, and switching without dropping a request."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi import Request as HttpRequest

from onward.errors import OutputError
from onward.serve.api.replies import DeploymentOut, ModelsOut, ReceivedOut
from onward.serve.api.schemas import Id
from onward.serve.api.security import ARCHIVES
from onward.serve.service import Service

IN_MEMORY = 1_048_576
"""Bytes of an archive that are kept in memory; more go to a nameless file."""
_BODY = {"content": {kind.decode(): {"schema": {"type": "string", "format": "binary"}} for kind in ARCHIVES}}


def models_router(service: Service) -> APIRouter:
    """GET and POST models, POST activate and rollback."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("")
    async def models() -> ModelsOut:
        """The models of the server, and which of them serves."""
        return await asyncio.to_thread(service.models)

    @router.post("", openapi_extra={"requestBody": {"required": True, **_BODY}})
    async def upload(request: HttpRequest) -> ReceivedOut:
        """Upload a model as an archive of its bundle folder. It is checked, and serves once it is activated."""
        try:
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as archive:
                async for chunk in request.stream():
                    await asyncio.to_thread(archive.write, chunk)
                archive.seek(0)
                return ReceivedOut(name=await asyncio.to_thread(service.receive_model, archive))
        except OSError as error:  # of a write, or of closing what couldn't be written
            raise OutputError(f"an upload can't be kept: {error.strerror}", "free space for temporary files") from None

    @router.post("/rollback")
    async def rollback() -> DeploymentOut:
        """Go back to the model before, as with any switch: no request is dropped."""
        return DeploymentOut.model_validate(await asyncio.to_thread(service.deployer.rollback))

    @router.post("/{name}/activate")
    async def activate(name: Annotated[Id, Path(description="Name of the model.")]) -> DeploymentOut:
        """Switch to a model: every worker loads, checks and warms it, then all flip. Answered after the flip."""
        return DeploymentOut.model_validate(await asyncio.to_thread(service.deployer.activate, name))

    return router
