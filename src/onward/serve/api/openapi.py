"""The OpenAPI description: every route's problems, and the key that it needs."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from onward.serve.api.problems import MEDIA_TYPE, ProblemOut
from onward.serve.api.security import OPEN, role_of

_DESCRIPTION = """Recommendations that change with the next click.

Every error is a problem+json (RFC 9457) with a `code` for programs. Keys are sent as `Authorization: Bearer KEY`;
a server on loopback without keys needs none. Times are microseconds UTC, or ISO 8601 with a zone."""


def describe(app: FastAPI) -> None:
    """Complete what the framework finds out by itself."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    components = made.setdefault("components", {})
    problem = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    components.setdefault("schemas", {}).update(problem.pop("$defs"))
    components["schemas"]["ProblemOut"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    answer = {
        "description": "A problem",
        "content": {MEDIA_TYPE.decode(): {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    }
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = answer
            if path not in OPEN:
                operation["security"] = [{"key": []}, {}]
                operation["description"] = f"{operation.get('description', '')} Role: {role_of(method.upper(), path)}."
    return made
