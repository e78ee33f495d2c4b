"""The features of one training: which columns, fitted on its events, and the histories that carry them."""

from __future__ import annotations

from onward.config import RequestTime
from onward.data.dataset import Dataset
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import ModelConfig
from onward.models.features.attach import with_features
from onward.models.features.columns import Column
from onward.models.features.fit import fit_columns
from onward.models.features.source import Source
from onward.models.features.time_column import TimeColumn
from onward.models.sequence import SequenceConfig


def fit_features(
    data: Dataset | Source, training: Histories, config: ModelConfig, request_time: RequestTime | None
) -> tuple[list[Column], list[str], Histories]:
    """Fitted columns as `model.features` asks for, what was decided (sentences), and the histories that carry them.

    Args:
        request_time: `target` makes the time of the event known when a list is asked for: the present, at serving.

    Raises:
        ConfigError: a word in `model.features` or `model.without` that means no column, or none that is left.
    """
    histories = data.histories
    if not isinstance(config, SequenceConfig) or config.features == "none":
        return [], [], histories
    source = data if isinstance(data, Source) else Source.of(data)
    chosen = source.chosen(config.features, config.without)
    if config.learns_interest and config.interest_of == "values":
        # the model reads past values already, as what it learns to predict
        chosen = [one for one in chosen if one.key != "value"]
    columns, notes = fit_columns(source, training, chosen)
    if not columns:
        said = "; ".join(notes) or "the data set has none, beside items and users"
        raise ConfigError(f"model.features asks for columns, and none is left: {said}", "leave model.features out")
    if request_time == "target":
        columns = [
            column.model_copy(update={"known_at_request": True})
            if isinstance(column, TimeColumn) and column.elapsed
            else column
            for column in columns
        ]
    return columns, [*(column.described for column in columns), *notes], with_features(histories, columns, source)
