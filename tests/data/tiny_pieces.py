"""Preparing in tiny pieces, so that a small log has many of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from onward.data import arrange, facts, order, readers
from onward.data.features import used


@contextmanager
def tiny_pieces(chunk: int, bucket: int) -> Iterator[None]:
    """Inside, tables are read and columns passed in `chunk` rows, and a bucket of users has `bucket` events."""
    with (
        mock.patch.object(readers, "CHUNK_ROWS", chunk),
        mock.patch.object(arrange, "BUCKET_EVENTS", bucket),
        mock.patch.object(arrange, "_SLICE", chunk),
        mock.patch.object(order, "_SLICE", chunk),
        mock.patch.object(used, "_SLICE", chunk),
        mock.patch.object(facts, "_SLICE", bucket),
    ):
        yield
