"""RePlay's SasRec by its current documented way: ParquetModule, LightningModule, callbacks, the seen-items filter."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import polars as pl
import protocol
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import ComputeMetricsCallback, TorchTopItemsCallback
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.sequential import LengthBucketedQueryEncoder, SasRec
from replay.nn.transform.template import make_default_sasrec_transforms
from replay.preprocessing import LabelEncoder, LabelEncodingRule

ITEM, USER = "item_id", "user_id"


class Pace(lightning.Callback):
    """Tells the pacer of every batch."""

    def __init__(self, pacer: protocol.Pacer) -> None:
        self.pacer, self.before = pacer, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """Events are the targets that aren't padding, whose input isn't either."""
        self.pacer.batch(self.before)
        self.before = int((batch["target_padding_mask"].squeeze(-1) & batch["padding_mask"]).sum())


class RePlay(protocol.Driver):
    """SASRec with the whole-catalog cross-entropy."""

    def prepare(self) -> dict[str, Any]:
        """Read with polars, encode ids with RePlay's LabelEncoder, write one Parquet file a stage."""
        torch.manual_seed(self.config["seed"])
        folder = Path(self.config["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        frame = pl.read_csv(self.config["data"], separator=" ", has_header=False, new_columns=[USER, ITEM])
        encoder = LabelEncoder([LabelEncodingRule(USER), LabelEncodingRule(ITEM)])
        lists = encoder.fit_transform(frame).group_by(USER, maintain_order=True).agg(ITEM)
        self.users, self.items = (self._names(encoder, column) for column in (USER, ITEM))
        lists.with_columns(pl.col(ITEM).list.head(pl.col(ITEM).list.len() - 2)).write_parquet(folder / "train.parquet")
        history = pl.col(ITEM).list.head(pl.col(ITEM).list.len() - 1)
        asked = lists.select(USER, history, seen_ids=history, ground_truth=pl.col(ITEM).list.tail(1))
        asked.write_parquet(folder / "test.parquet")
        self.asked, self.longest = asked, int(asked["seen_ids"].list.len().max())
        self.schema = TensorSchema(
            TensorFeatureInfo(
                ITEM,
                is_seq=True,
                feature_type=FeatureType.CATEGORICAL,
                embedding_dim=self.config["settings"]["embedding_dim"],
                cardinality=len(self.items),
                padding_value=len(self.items),
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, ITEM)],
            )
        )
        self.folder = folder
        self.module = LightningModule(self._model(), OptimizerFactory(learning_rate=self.config["learning_rate"]))
        self.batches = self._batches(self.config["batch"])
        return {"users": len(asked)}

    def _names(self, encoder: LabelEncoder, column: str) -> np.ndarray:
        inverse = encoder.inverse_mapping[column]
        return np.array([inverse[index] for index in range(len(inverse))], dtype=np.int64)

    def _model(self) -> SasRec:
        model = SasRec.from_params(
            schema=self.schema, max_sequence_length=self.config["length"], **self.config["settings"]
        )
        if self.config["bucket"]:
            model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, self.config["bucket"])
        return model

    def _batches(self, size: int) -> ParquetModule:
        padding, length = len(self.items), self.config["length"]
        asked = {
            USER: {},
            ITEM: {"shape": length, "padding": padding},
            "seen_ids": {"shape": self.longest, "padding": padding},
            "ground_truth": {"shape": 1, "padding": -1},
        }
        return ParquetModule(
            batch_size={"train": size, "test": 256, "predict": 256},
            metadata={"train": {ITEM: {"shape": length + 1, "padding": padding}}, "test": asked, "predict": asked},
            transforms=make_default_sasrec_transforms(self.schema),
            train_path=str(self.folder / "train.parquet"),
            test_path=str(self.folder / "test.parquet"),
            predict_path=str(self.folder / "test.parquet"),
        )

    def train(self, pacer: protocol.Pacer) -> None:
        """One fit without end, no validation."""
        trainer = _trainer(Pace(pacer), max_epochs=100_000, limit_val_batches=0)
        trainer.fit(self.module, datamodule=self.batches)

    def evaluate(self) -> dict[str, Any]:
        """Trainer.test with RePlay's metrics."""
        counted = ComputeMetricsCallback(["ndcg"], [10], [SeenItemsFilter(len(self.items))], verbose=False)
        found = _trainer(counted).test(self._copy(), datamodule=self._batches(256), verbose=False)
        return {"users": len(self.asked), "own": {name: float(value) for name, value in found[0].items()}}

    def recommend(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Trainer.predict with RePlay's top-items callback."""
        top = TorchTopItemsCallback(k, USER, [SeenItemsFilter(len(self.items))])
        _trainer(top).predict(self._copy(), datamodule=self._batches(256), return_predictions=False)
        users, items, _ = top.get_result()
        return self.users[users.numpy().ravel()], self.items[items.numpy()]

    def _copy(self) -> LightningModule:
        """The weights as they are, in a module of its own: a second trainer must not take over the one in training."""
        return LightningModule(copy.deepcopy(self.module.model)).eval()

    def answer(self, number: int, k: int) -> object:
        """One forward pass of the model, the filter and topk."""
        history = self.asked[ITEM][number].to_numpy()
        model = self._answering()
        recent = torch.from_numpy(history[-self.config["length"] :].astype(np.int64))[None]
        with torch.inference_mode():
            mask = torch.ones_like(recent, dtype=torch.bool)
            logits = model(feature_tensors={ITEM: recent}, padding_mask=mask)["logits"]
            seen = {"seen_ids": torch.from_numpy(history.astype(np.int64))[None]}
            return torch.topk(SeenItemsFilter(len(self.items)).on_prediction(seen, logits), k).indices

    def _answering(self) -> SasRec:
        if not hasattr(self, "_served"):
            self._served = copy.deepcopy(self.module.model).eval()
        return self._served


def _trainer(callback: lightning.Callback, **limits: Any) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
        **limits,
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    protocol.main(RePlay)
