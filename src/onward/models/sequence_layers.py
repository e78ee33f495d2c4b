"""What a sequence model is made of: settings, input, encoder, output tables, and what features add to them.

Legend: B rows, L longest row, N real steps, D width, W width with what is appended, V items.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from onward.data.negatives import NegativeSampler
from onward.errors import ConfigError
from onward.models.base import Items, Recommender
from onward.models.features.columns import Column
from onward.models.features.featured import TABLES, Featured
from onward.models.features.layer import FeatureLayer
from onward.models.features.likeness import PREFIX as LIKENESS
from onward.models.features.likeness import Likeness
from onward.models.features.tower import Tower
from onward.models.interest_head import InterestHead
from onward.models.objective import ObjectiveConfig
from onward.models.quick import Quick
from onward.models.repeat import Repeat, check_repeat
from onward.models.rows import Rows
from onward.models.tables import ItemVectors
from onward.space import Choice, Range


class SequenceConfig(ObjectiveConfig):
    """Settings that all sequence models share; those of the loss are in `ObjectiveConfig`."""

    width: Annotated[int, Choice((64, 128, 256, 32))] = Field(64, ge=1)
    """Width of item vectors and states."""
    max_length: int = Field(200, ge=1)
    """Newest steps of a history that the model reads; longer training histories are cut into windows."""
    dropout: Annotated[float, Range(0.0, 0.7)] = Field(0.2, ge=0, lt=1)
    """Share of activations dropped in training."""
    output: Literal["tied", "separate"] = "tied"
    """Whether items are scored by their input vectors or by a table of their own."""
    features: Literal["none", "all"] | tuple[str, ...] = "none"
    """Columns that are read beside item ids: all, or some by name, OWNER.NAME, owner (events, items, users) or kind."""
    without: tuple[str, ...] = ()
    """Columns that are left out of these, named in the same ways."""
    id_dropout: float = Field(0.1, ge=0, lt=1)
    """With features of items: share of the items whose id counts as unknown in a training step, so that an item can be
    known by its features alone."""
    feature_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of (thing, column) pairs whose feature is left out in training."""


class SequenceLayers(nn.Module, Recommender):
    """The learned parts of a sequence model, and how they are saved."""

    config: SequenceConfig
    input: nn.Module
    output: ItemVectors | None

    def __init__(self, config: SequenceConfig, items: Items) -> None:
        nn.Module.__init__(self)
        config = config.resolved(items.n)
        Recommender.__init__(self, config, items)
        self.input = self.make_input(config, items.n)
        self.build(config, items.n)
        tied = config.output == "tied"
        self.output = None if tied else ItemVectors(items.n, config.width, config.touches_rows)
        self.output_bias = nn.Parameter(torch.zeros(items.n + 1))
        self.interest_head = None
        if config.learns_interest:
            self.interest_head = InterestHead(config, config.width, items.n, config.ranks, not self.traits.cloze)
        check_repeat(config, self.traits, self.name)
        self.repeat = Repeat(config.width) if config.repeat else None
        self.sampler = NegativeSampler(items.train_counts, config.negatives_power)
        self.features: FeatureLayer | None = None
        self.featured: Featured | None = None
        self.likeness: Likeness | None = None
        self.quick: Quick | None = None
        self.initialise()
        self.eval()  # the training loop alone switches dropout on, so that threads may ask for scores at once

    def make_input(self, config: SequenceConfig, n_items: int) -> nn.Module:
        """From items to vectors. Row 0 of the table is padding."""
        return ItemVectors(n_items, config.width, config.touches_rows)

    @abstractmethod
    def build(self, config: SequenceConfig, n_items: int) -> None:
        """Make the encoder's layers."""

    @abstractmethod
    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states from (B, L, D) inputs; rows are real up to their length, zero after it."""

    def initialise(self) -> None:
        """Item vectors from N(0, 0.02), matrices Xavier-uniform, biases zero; recurrent matrices orthogonal."""
        for name, parameter in self.named_parameters():
            if "input.weight" in name or "output.weight" in name or "position" in name:
                nn.init.normal_(parameter, std=0.02)
            elif parameter.dim() >= 2:
                (nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_)(parameter)
            elif name.endswith("bias") or "bias_" in name:
                nn.init.zeros_(parameter)
        if self.repeat is not None:
            self.repeat.initialise()

    def use_features(self, columns: Sequence[Column], catalog: pl.DataFrame | None) -> None:
        """Read fitted columns beside item ids.

        Args:
            catalog: features of the items, row r being item index r + 1; None for a model whose finished tables are
                loaded, which needs them no more.

        Raises:
            ConfigError: this model can't read them; says why.
        """
        if not columns:
            return
        config = self.config
        if not isinstance(self.input, ItemVectors):
            raise ConfigError("model.input = 'onehot' has no item vectors that features could add to", "leave one out")
        layer = FeatureLayer(columns, config.width, config.id_dropout, config.feature_dropout)
        if layer.asks and config.contrastive > 0:
            raise ConfigError(
                "model.contrastive compares what histories say, and here states also say who asks, and when",
                "leave it out, or the features of users and those known at the request (model.without)",
            )
        if catalog is not None:
            layer.hold_items(catalog)
        seen = self.items.candidates
        self.features = layer.to(self.output_bias.device).train(self.training)
        self.featured = Featured(layer, self.input, self.output, self.output_bias, seen)

    @property
    def scores_unseen(self) -> bool:
        """Whether the scores of items without a training event mean anything: where it reads features of items."""
        return self.featured is not None and self.featured.makes_items

    @property
    def opens(self) -> bool:
        """Whether it learns what comes first of all, so that it answers an empty history."""
        return self.featured is not None and self.featured.asks and self.interest_head is None

    @property
    def reads_more(self) -> bool:
        """Whether its encoder reads more of an event than the item: times, or features."""
        return self.traits.timed or (self.features is not None and self.features.events is not None)

    @property
    def asks_more(self) -> bool:
        """Whether states are told more before they rank than what the encoder reads (`asked_by`)."""
        return self.likeness is not None or (self.featured is not None and self.featured.asks)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and answering; weights that change make kept tables stale."""
        if mode:
            self._weights_change()
        return super().train(mode)

    def _weights_change(self) -> None:
        if self.featured is not None:
            self.featured.keep(None)
        self.quick = self.likeness = None

    # tables

    def item_tables(self) -> dict[str, nn.Parameter]:
        """The parameters with one row an item, by name."""
        parts = {name: part for name, part in self.named_modules() if isinstance(part, ItemVectors)}
        tables = {f"{name}.weight": part.weight for name, part in parts.items()} | {"output_bias": self.output_bias}
        second = {} if self.interest_head is None else {"interest_head.bias": self.interest_head.bias}
        return tables | {name: bias for name, bias in second.items() if bias is not None}

    def input_table(self) -> Tensor:
        """(V + 1, D) vectors of items as the encoder reads them to answer."""
        if self.featured is not None:
            return self.featured.input_table()
        assert isinstance(self.input, ItemVectors)
        return self.input.weight

    def output_table(self) -> tuple[Tensor, Tensor]:
        """(V + 1, W) vectors and (V + 1,) biases that states are scored against to answer; W as in `asked_by`."""
        vectors, biases = self._outputs_kept()
        head, likeness = self.interest_head, self.likeness
        if head is not None and not self.config.ranks:
            return head.table(vectors, biases)
        if likeness is None:
            return vectors, biases
        return likeness.extend_catalog(vectors, biases)

    def items_of(self, frame: pl.DataFrame, items: Tensor) -> tuple[Tensor, Tensor]:
        """(n, W) vectors and (n,) biases of items with the features of a table's rows, as `Featured.items_of`."""
        assert self.featured is not None
        vectors, biases = self.featured.items_of(frame, items)
        head, likeness = self.interest_head, self.likeness
        if head is not None and not self.config.ranks:
            return head.rows(vectors, biases, items)
        if likeness is None:
            return vectors, biases
        return likeness.extend_features(vectors, biases, frame, items)

    def _outputs(self) -> tuple[Tensor | Tower, Tensor]:
        """What items are scored by in training: vectors and biases, or what makes those of a batch."""
        return self._outputs_kept() if self.featured is None else self.featured.outputs()

    def _outputs_kept(self) -> tuple[Tensor, Tensor]:
        """(V + 1, D) vectors and (V + 1,) biases of items as the encoder's states are scored against."""
        if self.featured is not None:
            return self.featured.output_table()
        table = self.input if self.output is None else self.output
        assert isinstance(table, ItemVectors)
        return table.weight, self.output_bias

    # what is saved

    @property
    def parameters_count(self) -> int:
        """Numbers that the model learned."""
        return sum(tensor.numel() for tensor in self.state_dict().values())

    def state(self) -> dict[str, Tensor]:
        """Weights and statistics by name, and the finished item tables where features make them."""
        tables = {} if self.featured is None else self.featured.tables()
        found = {**self.state_dict(), **tables, **({} if self.likeness is None else self.likeness.state())}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights and statistics."""
        tables = {name: tensor for name, tensor in state.items() if name in TABLES}
        alike = {name: tensor for name, tensor in state.items() if name.startswith(LIKENESS)}
        self.load_state_dict({name: tensor for name, tensor in state.items() if name not in {*tables, *alike}})
        if self.featured is not None and tables:
            self.featured.keep(tables)
        if self.featured is not None and alike:
            self.likeness = Likeness.load(self.featured.layer.columns, self.items.candidates, alike)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's; tables that were kept are made anew."""
        self._weights_change()
        return super().load_state_dict(*args, **kwargs)
