"""Routes for those who look after the server: is it alive, is it ready, what did it count."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response

from onward.serve.api.problems import ApiError
from onward.serve.api.replies import HealthOut
from onward.serve.service import Service

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def health_router(service: Service) -> APIRouter:
    """GET healthz, readyz and metrics."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model_exclude_none=True)
    async def healthz() -> HealthOut:
        """The process lives: restart it when this doesn't answer."""
        return HealthOut(status="ok")

    @router.get("/readyz")
    async def readyz() -> HealthOut:
        """Requests are answered here: send them elsewhere while this says 503."""
        if service.draining:
            raise ApiError(503, "draining", "this server is stopping", retry_after=1.0)
        deployment = await asyncio.to_thread(service.deployer.require_ready)
        return HealthOut(status="ready", model=deployment.active, generation=deployment.generation)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """All workers' counts, for Prometheus."""
        return Response(await asyncio.to_thread(service.exposition), media_type=PROMETHEUS)

    return router
