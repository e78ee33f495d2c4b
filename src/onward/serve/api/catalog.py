"""Routes of the catalog: items added, changed and deleted at run time, and items that are like one."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query

from onward.serve.api.problems import no_such_item
from onward.serve.api.replies import ItemOut, ItemsOut, SimilarOut
from onward.serve.api.schemas import Id, ItemIn, ItemsIn
from onward.serve.service import Service
from onward.serve.store.protocol import ItemRecord

ItemId = Annotated[Id, Path(description="Id of the item.")]
MOST_SIMILAR = 1_000


def catalog_router(service: Service) -> APIRouter:
    """POST items, GET and DELETE one, GET similar ones."""
    router = APIRouter(prefix="/v1/items", tags=["items"])

    @router.post("")
    async def put_items(body: ItemIn | ItemsIn) -> ItemsOut:
        """Add or change one item or up to 1,000; the next list knows them."""
        items = [body] if isinstance(body, ItemIn) else body.items
        records = [ItemRecord(item.id, item.features) for item in items]
        await asyncio.to_thread(service.store.put_items, records)
        return ItemsOut(changed=len({record.id for record in records}))

    @router.get("/{item:path}/similar")
    async def similar(
        item: ItemId, k: Annotated[int, Query(ge=1, le=MOST_SIMILAR, description="Length of the list.")] = 10
    ) -> SimilarOut:
        """Items that are like one."""
        return await asyncio.to_thread(service.similar, item, k)

    @router.get("/{item:path}")
    async def get_item(item: ItemId) -> ItemOut:
        """One item, from the run-time catalog or the model's."""
        found = await asyncio.to_thread(service.item, item)
        if found is None:
            raise no_such_item()
        return found

    @router.delete("/{item:path}")
    async def delete_item(item: ItemId) -> ItemsOut:
        """Take an item out of the catalog: it is in no list from now on. Its events stay."""
        await asyncio.to_thread(service.store.delete_items, [item])
        return ItemsOut(changed=1)

    return router
