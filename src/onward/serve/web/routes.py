"""The page's routes: parse, ask the service, fill a template."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from onward.serve.api.problems import ApiError, to_api_error
from onward.serve.service import Service
from onward.serve.web import cards, lookup, operating, trying
from onward.serve.web.assets import by_hashed_name
from onward.serve.web.pages import Frame, is_fragment, page, redirect
from onward.serve.web.recent import Recent
from onward.serve.web.samples import Samples
from onward.serve.web.session import Browser, Viewer, local_path
from onward.serve.web.trouble import guarded

FIELDS = 20
"""Fields of a form, at most."""
FOREVER = "public, max-age=31536000, immutable"


def page_router(service: Service) -> APIRouter:
    """Everything from / on that isn't the API."""
    site = _Site(service)
    router = APIRouter(include_in_schema=False, lifespan=site.lifespan)
    for path, method, answer in (
        ("/", "GET", site.try_it),
        ("/click", "POST", site.click),
        ("/visitor", "POST", site.new_visitor),
        ("/operations", "GET", site.operations),
        ("/operations/now", "GET", site.operations_now),
        ("/operations/models", "GET", site.operations_models),
        ("/operations/activate", "POST", site.activate),
        ("/operations/rollback", "POST", site.rollback),
        ("/model", "GET", site.model),
        ("/catalog", "GET", site.catalog),
        ("/catalog/found", "GET", site.catalog_found),
        ("/catalog/item", "GET", site.item),
        ("/users", "GET", site.users),
        ("/sign-in", "GET", site.sign_in_form),
        ("/sign-in", "POST", site.sign_in),
        ("/sign-out", "POST", site.sign_out),
        ("/assets/{name}", "GET", site.asset),
    ):
        router.add_api_route(path, guarded(service, answer), methods=[method], response_class=Response)
    return router


class _Site:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._recent = Recent(service.store)
        self._samples = Samples(service.metrics)

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Count while the server runs."""
        taking = asyncio.create_task(self._samples.keep_taking())
        yield
        taking.cancel()
        with suppress(asyncio.CancelledError):
            await taking

    async def try_it(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        view = await trying.build(self._service, self._recent, viewer, trying.Wanted.parse(request.query_params))
        return page(browser, "try", await self._frame(viewer, "try", "Try it"), {"view": view})

    async def click(self, request: Request) -> Response:
        browser, viewer, form = await self._form(request)
        click = await trying.click(self._service, viewer, form)
        wanted = trying.Wanted.parse(form)
        if not is_fragment(request):
            return redirect(f"/?user={quote(wanted.user, safe='')}" if wanted.user else "/")
        view = await trying.build(self._service, self._recent, viewer, wanted, click)
        return page(browser, "try_panels", await self._frame(viewer), {"view": view})

    async def new_visitor(self, request: Request) -> Response:
        browser, _, _ = await self._form(request)
        browser.new_visitor()
        return redirect("/", browser)

    async def operations(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        figures, models, store = await asyncio.gather(
            asyncio.to_thread(operating.figures, self._service, self._samples),
            asyncio.to_thread(operating.models, self._service),
            asyncio.to_thread(operating.store, self._service),
        )
        values = {**figures, "models": models, "store": store, "may_switch": viewer.may_switch}
        return page(browser, "operations", await self._frame(viewer, "operations", "Operations"), values)

    async def operations_now(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        figures = await asyncio.to_thread(operating.figures, self._service, self._samples)
        return page(browser, "operations_now", Frame("", viewer=viewer), figures)

    async def operations_models(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        return await self._models(request, browser, viewer)

    async def activate(self, request: Request) -> Response:
        browser, viewer, form = await self._form(request, admin=True)
        name = form.get("model", "")
        return await self._switch(request, browser, viewer, lambda: self._service.deployer.activate(name))

    async def rollback(self, request: Request) -> Response:
        browser, viewer, _ = await self._form(request, admin=True)
        return await self._switch(request, browser, viewer, self._service.deployer.rollback)

    async def model(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        shelf, active = self._service.deployer.models, (await self._deployment()).active
        names = await asyncio.to_thread(shelf.names)
        name = request.query_params.get("name", active or "")
        found = await asyncio.to_thread(cards.card, shelf.path(name)) if name in names else None
        if found is None:
            raise ApiError(404, "no_such_model", f"there is no model '{name}' here, or its manifest can't be read")
        others = [other for other in names if other != name]
        frame = await self._frame(viewer, "model", name)
        return page(browser, "model", frame, {"card": cards.whole(name, found, name == active, others)})

    async def catalog(self, request: Request) -> Response:
        return await self._catalog(request, "catalog")

    async def catalog_found(self, request: Request) -> Response:
        return await self._catalog(request, "catalog_found")

    async def item(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        view = await asyncio.to_thread(lookup.item, self._service, request.query_params.get("id", ""))
        return page(browser, "item", await self._frame(viewer, "catalog", view["title"]), {"view": view})

    async def users(self, request: Request) -> Response:
        browser, viewer = self._who(request)
        wanted = request.query_params.get("id", "").strip()
        view = await asyncio.to_thread(lookup.user, self._service, self._recent, wanted)
        return page(browser, "users", await self._frame(viewer, "users", "Users"), {"view": view})

    async def sign_in_form(self, request: Request) -> Response:
        if not self._service.keys.needed:
            return redirect("/")
        return _sign_in(Browser(request), local_path(request.query_params.get("next", "/")))

    async def sign_in(self, request: Request) -> Response:
        browser, form = Browser(request), await _fields(request)
        browser.check_csrf(form.get("csrf", ""))
        key, after = form.get("key", "").strip(), local_path(form.get("next", "/"))
        if await asyncio.to_thread(self._service.keys.check, key) is None:
            return _sign_in(browser, after, "This key is unknown, or was revoked.", 403)
        browser.sign_in(key)
        return redirect(after, browser)

    async def sign_out(self, request: Request) -> Response:
        browser, _, _ = await self._form(request)
        browser.sign_out()
        return redirect("/sign-in" if self._service.keys.needed else "/", browser)

    async def asset(self, request: Request) -> Response:
        found = by_hashed_name().get(request.path_params["name"])
        if found is None:
            raise ApiError(404, "not_found", "there is nothing at this path")
        return Response(found.content, media_type=found.media_type, headers={"Cache-Control": FOREVER})

    def _who(self, request: Request) -> tuple[Browser, Viewer]:
        browser = Browser(request)
        request.state.viewer = viewer = browser.viewer(self._service.keys)  # for the page of an error
        return browser, viewer

    async def _form(self, request: Request, admin: bool = False) -> tuple[Browser, Viewer, dict[str, str]]:
        browser, viewer = self._who(request)
        form = await _fields(request)
        browser.check_csrf(form.get("csrf", ""))
        if admin and not viewer.may_switch:
            raise ApiError(403, "role", "switching models needs a key with the role 'admin'")
        return browser, viewer, form

    async def _deployment(self) -> Any:
        return await asyncio.to_thread(self._service.store.deployment)

    async def _frame(self, viewer: Viewer, place: str = "", title: str = "") -> Frame:
        return Frame(title, place, viewer, (await self._deployment()).active)

    async def _switch(self, request: Request, browser: Browser, viewer: Viewer, switch: Callable[[], Any]) -> Response:
        said: dict[str, str] = {}
        try:
            deployment = await asyncio.to_thread(switch)
            said = {"said": f"{deployment.active} serves from now on."}
        except Exception as error:
            known = to_api_error(error)
            if known is None:
                raise
            said = {"failed": "The model was not switched", "failed_detail": known.detail}
        if not is_fragment(request):
            return redirect("/operations")
        return await self._models(request, browser, viewer, said)

    async def _models(
        self, request: Request, browser: Browser, viewer: Viewer, said: Mapping[str, str] | None = None
    ) -> Response:
        models = await asyncio.to_thread(operating.models, self._service, **(said or {}))
        values = {"models": models, "may_switch": viewer.may_switch}
        return page(browser, "operations_models", Frame("", viewer=viewer), values)

    async def _catalog(self, request: Request, template: str) -> Response:
        browser, viewer = self._who(request)
        query = request.query_params.get("q", "").strip()
        view = await asyncio.to_thread(lookup.catalog, self._service, query)
        return page(browser, template, await self._frame(viewer, "catalog", "Catalog"), {"view": view})


async def _fields(request: Request) -> dict[str, str]:
    """A form's fields, the last of each name. Raises ApiError 422 for what no form of the page sends."""
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS))
    except ValueError:
        raise ApiError(422, "invalid", "this form can't be read") from None


def _sign_in(browser: Browser, after: str, error: str = "", status: int = 200) -> Response:
    return page(browser, "sign_in", Frame("Sign in"), {"csrf": browser.csrf, "next": after, "error": error}, status)
