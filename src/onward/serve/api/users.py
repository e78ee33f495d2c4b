"""Routes of one user: the history, and forgetting it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query

from onward.serve.api.replies import HistoryOut, ReceiptOut
from onward.serve.api.schemas import Id
from onward.serve.service import Service

UserId = Annotated[Id, Path(description="Id of the user; `session:ID` for an anonymous session.")]
MOST_EVENTS = 10_000


def users_router(service: Service) -> APIRouter:
    """GET the history of a user, DELETE the user."""
    router = APIRouter(prefix="/v1/users", tags=["users"])

    @router.get("/{user:path}/history")
    async def history(
        user: UserId, limit: Annotated[int, Query(ge=1, le=MOST_EVENTS, description="Newest events, at most.")] = 100
    ) -> HistoryOut:
        """The newest events of a user, oldest first; empty for somebody unknown."""
        return await asyncio.to_thread(service.history, user, limit)

    @router.delete("/{user:path}")
    async def forget(user: UserId) -> ReceiptOut:
        """Remove everything of a user, and say what is left to do. Older events are rejected from now on."""
        return ReceiptOut.model_validate(await asyncio.to_thread(service.forget, user))

    return router
