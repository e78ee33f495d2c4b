"""A model whose scores are given, and dataset and run folders written by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from onward.bundle import write_bundle
from onward.config import RunConfig, SplitConfig, dump_toml
from onward.data.dataset import Dataset, Manifest, open_dataset, sha256
from onward.data.sequences import Histories, Ints
from onward.data.split import split
from onward.models.base import Items, ModelConfig, Recommender, Traits, build, make_items
from onward.models.registry import model_class


class Table(Recommender):
    """Scores by the last item of the history: row i of the table answers histories that end in item i."""

    name = "table"
    Config = ModelConfig
    traits = Traits()

    def __init__(self, config: ModelConfig, items: Items) -> None:
        super().__init__(config, items)
        self.table = torch.zeros(items.n + 1, items.n + 1)

    @property
    def value_range(self) -> tuple[float, float] | None:
        return (1.0, 5.0)

    def score_histories(self, histories: Histories) -> Tensor:
        assert (histories.item >= 1).all()
        assert (histories.item <= self.items.n).all()
        return self.table[torch.from_numpy(histories.item[histories.end - 1].astype(np.int64))].clone()

    def interest(self, histories: Histories, items: Ints) -> Tensor:
        return torch.from_numpy((items / self.items.n).astype(np.float32))

    def fit(self, training: Histories, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.rand(self.table.shape, generator=generator)

    def state(self) -> dict[str, Tensor]:
        return {"table": self.table}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.table = state["table"].clone()


def table_model(training: Histories, table: np.ndarray | None = None) -> Table:
    model = Table(ModelConfig(), make_items(training, np.arange(training.n_items + 1, dtype=np.int32)))
    if table is not None:
        model.table = torch.from_numpy(np.asarray(table, dtype=np.float32))
    return model


def write_dataset(
    folder: Path,
    lists: list[list[int]],
    n_items: int,
    *,
    seen: str = "exclude",
    prefix: str = "i",
    items: pl.DataFrame | None = None,
    users: pl.DataFrame | None = None,
    **columns: np.ndarray,
) -> Dataset:
    """A dataset folder of plain item lists; times count up over all users, so that user 0 is the earliest.

    `users`: further columns of the users, categories where they are text and numbers else.
    """
    lengths = np.array([len(one) for one in lists])
    flat = np.array([item for one in lists for item in one], dtype=np.int32)
    arrays: dict[str, np.ndarray] = {"item": flat, "time": np.arange(len(flat), dtype=np.int64), **columns}
    segment = folder / "segments/000000"
    (segment / "events").mkdir(parents=True)
    np.save(segment / "events/offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    for name, array in arrays.items():
        np.save(segment / f"events/{name}.npy", array)
    frame = items if items is not None else pl.DataFrame({"item": [f"{prefix}{i:03}" for i in range(1, n_items + 1)]})
    frame.write_parquet(segment / "items.parquet")
    about = pl.DataFrame() if users is None else users
    everyone = pl.DataFrame({"user": [f"u{i}" for i in range(len(lists))]}).hstack(about)
    everyone.write_parquet(segment / "users.parquet")
    files = {str(file.relative_to(folder)): sha256(file) for file in sorted(segment.rglob("*.*"))}
    manifest = Manifest(
        hash=hashlib.sha256("".join(files.values()).encode()).hexdigest(),
        users=len(lists),
        items=frame.height,
        events=len(flat),
        rejected=0,
        sources=["made.csv"],
        roles={"user": "user", "item": "item"},
        columns=list(arrays),
        repeat_share=0.0,
        seen=seen,
        duplicates="keep",
        duplicate_rows=0,
        user_features={name: "category" if kind == pl.String else "number" for name, kind in about.schema.items()},
        files=files,
    )
    (folder / "dataset.toml").write_text(dump_toml(manifest))
    return open_dataset(folder)


def write_run(folder: Path, dataset: Dataset, model: str, seed: int = 0, **settings: Any) -> Path:
    """A run folder with a fitted static model, as `onward train` leaves it; settings are those of the split."""
    divided = split(dataset.histories, SplitConfig(**settings))
    training = divided.training(dataset.histories)
    made = build(model_class(model), {}, make_items(training, dataset.catalog.tie_rank))
    made.fit(training, seed)
    config = RunConfig(
        seed=seed,
        dataset=dataset.manifest.hash,
        dataset_path=str(dataset.path),
        split=divided.config,
        model={"name": model, **made.config.model_dump(mode="json")},
    )
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(dump_toml(config))
    facts = {"seconds": 0.5, "parameters": made.parameters_count, "best_epoch": None}
    write_bundle(folder / "model", made, dataset.catalog, config, dataset.manifest, facts)
    return folder
