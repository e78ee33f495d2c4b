"""Run the protocol that a model was trained for: ranks, metrics with intervals, slices, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from onward.bundle import Bundle, load_bundle
from onward.config import Protocol, RequestTime, SplitConfig
from onward.data.dataset import Dataset, open_dataset
from onward.data.sequences import Histories, Ints
from onward.data.split import Part, Split, split
from onward.errors import ConfigError, DataError, FormatError, unknown
from onward.evaluate.cold import check_cold, cold_items, cold_part, of_cold, rank_cold_items, with_cold
from onward.evaluate.external import align, known_only
from onward.evaluate.interest import DEFAULT_THRESHOLD, best_decision
from onward.evaluate.measure import Answers, measure
from onward.evaluate.options import KS, Cold, Options
from onward.evaluate.ranking import Progress, Ranks, rank_targets
from onward.evaluate.results import Evaluation, write_evaluation
from onward.evaluate.tracked import track_evaluation
from onward.evaluate.validate import target_interests, validation_metrics
from onward.manifest import BundleManifest
from onward.models.base import Recommender, top_k
from onward.models.features.attach import histories_for

__all__ = ["evaluate", "validation_metrics"]


def evaluate(
    run_or_model: str | Path,
    dataset: str | Path | None = None,
    part: Literal["valid", "test"] = "test",
    *,
    external: bool = False,
    protocol: Protocol | SplitConfig | None = None,
    seen: Literal["exclude", "include"] | None = None,
    cold: Cold = "miss",
    ks: Sequence[int] = KS,
    threshold: float = DEFAULT_THRESHOLD,
    seed: int = 0,
    decision: float | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a trained model on the part of the data that its split kept from it.

    A run's result is written to its `evaluation/PART/`, that of cold items or users alone to one beside it
    (`evaluation/test-cold-items/`), and told to the trackers of its training; a bundle's, or one on external data, is
    only returned.

    Args:
        run_or_model: run folder or bundle.
        dataset: the data set that was trained on; by default where it was then. Checked by its hash.
        external: this data set was never trained on; it may then be any, and `protocol` divides it.
        seen, cold, ks, threshold, seed, decision: as in `Options`.

    Raises:
        ConfigError: another split than the training's, a part that is empty, an option out of range, cold items or
            users of a split without a cut.
        DataError: no request asks for a cold item, or comes from a cold user.
        FormatError: another data set than the training's, or an unsound folder.
    """
    options = Options(seen, cold, tuple(sorted(set(ks))), threshold, seed, decision)
    if part not in ("valid", "test"):
        raise ConfigError(unknown("part", str(part), ("valid", "test")))
    bundle = load_bundle(run_or_model)
    setting = _external(bundle, dataset, protocol) if external else _trained(bundle, dataset, protocol)
    result = _evaluate(bundle, setting, part, options, progress)
    run = Path(run_or_model)
    if not external and bundle.path == run / "model" and (run / "config.toml").is_file():
        only = f"-cold-{cold}" if cold in ("items", "users") else ""
        write_evaluation(run / "evaluation" / f"{part}{only}", result)
        track_evaluation(run, f"{part}{only}")
    return result


@dataclass(frozen=True)
class _Setting:
    """The data set, its histories in the model's item indices, and how they are divided."""

    dataset: Dataset
    histories: Histories
    ids: list[str]
    """Item id by index, less one."""
    split: Split
    external: bool


def _trained(bundle: Bundle, dataset: str | Path | None, protocol: Protocol | SplitConfig | None) -> _Setting:
    config = bundle.manifest.split
    if config.protocol == "all":
        raise ConfigError(
            f"{bundle.path} was trained on all events (protocol 'all'), so nothing is left to measure it on. "
            + _carried(bundle),
            "measure it on data that it never saw: --external --dataset OTHER --protocol last|time|users",
        )
    other = protocol if isinstance(protocol, SplitConfig) else None
    name = other.protocol if other is not None else protocol
    if (name is not None and name != config.protocol) or (other is not None and other != config):
        raise ConfigError(
            f"{bundle.path} was trained for protocol '{config.protocol}', and another split ('{name}') would measure "
            "it on its own training events",
            f"leave --protocol out, or train again: onward train --protocol {name}",
        )
    opened = open_trained_dataset(bundle, dataset)
    histories = histories_for(bundle.model, opened)
    divided = split(histories, config, opened.manifest.actions)
    return _Setting(opened, histories, bundle.catalog.ids, divided, external=False)


def open_trained_dataset(bundle: Bundle, dataset: str | Path | None) -> Dataset:
    """The data set that a model was trained on, here or where it was then. Raises FormatError for another one."""
    place = Path(dataset) if dataset is not None else Path(bundle.config.dataset_path)
    if dataset is None and not (place / "dataset.toml").is_file():
        raise FormatError(f"the data set of {bundle.path} is no longer at {place}", "say where it is: --dataset FOLDER")
    opened = open_dataset(place)
    check_trained_on(bundle.path, bundle.manifest, opened)
    return opened


def check_trained_on(path: str | Path, manifest: BundleManifest, dataset: Dataset) -> None:
    """Raise FormatError unless a model was trained on this data set."""
    if dataset.manifest.hash != manifest.dataset:
        raise FormatError(
            f"{path} was trained on data set {manifest.dataset[:12]}, and {dataset.path} is "
            f"{dataset.manifest.hash[:12]}",
            "give the data set of the training, or, if the model never saw any of this one: --external",
        )


def _external(bundle: Bundle, dataset: str | Path | None, protocol: Protocol | SplitConfig | None) -> _Setting:
    if dataset is None:
        raise ConfigError("external data was not named", "say where it is: --dataset FOLDER")
    opened = open_dataset(dataset)
    if opened.manifest.hash == bundle.manifest.dataset:
        raise ConfigError(
            f"{dataset} is the very data set that {bundle.path} was trained on, so it is not external",
            "leave --external out",
        )
    if protocol is None and bundle.manifest.split.protocol == "all":
        raise ConfigError("which events of the external data are to be predicted?", "--protocol last|time|users")
    # a model goes on being told what it was trained with, as far as the data can tell it
    told = bundle.manifest.split.request_time if opened.histories.time is not None else None
    name = bundle.manifest.split.protocol if protocol is None else protocol
    config = name if isinstance(name, SplitConfig) else _fresh(name, told)
    aligned, ids = align(opened, bundle.catalog)
    histories = histories_for(bundle.model, opened, aligned)
    return _Setting(opened, histories, ids, split(histories, config, opened.manifest.actions), external=True)


def _fresh(protocol: str, request_time: RequestTime | None) -> SplitConfig:
    if protocol not in get_args(Protocol):
        raise ConfigError(unknown("protocol", protocol, get_args(Protocol)))
    if protocol == "all":
        raise ConfigError("protocol 'all' leaves nothing to predict", "--protocol last|time|users")
    return SplitConfig.parse({"protocol": protocol, "request_time": request_time})


def _carried(bundle: Bundle) -> str:
    if not bundle.manifest.metrics:
        return "It carries no metrics either."
    texts = []
    for entry in bundle.manifest.metrics:
        shown = {name: value for name, value in entry.values.items() if name in ("ndcg@10", "hr@10", "mse")}
        numbers = ", ".join(f"{name} {_number(value):.4f}" for name, value in shown.items())
        texts.append(f"{numbers or 'metrics'} ({entry.part}, protocol '{entry.protocol.get('split', '?')}')")
    return f"It carries the metrics of the run that chose its settings: {'; '.join(texts)}."


def _number(value: Any) -> float:
    return float(value["value"] if isinstance(value, dict) else value)


def _evaluate(
    bundle: Bundle, setting: _Setting, part: Literal["valid", "test"], options: Options, progress: Progress | None
) -> Evaluation:
    asked: Part = getattr(setting.split, part)
    if not len(asked):
        refit = setting.split.config.refit and part == "valid"
        raise ConfigError(
            f"the {part} part is empty" + (": with refit, validation joined the training" if refit else ""),
            "use --part test" if part == "valid" else "",
        )
    if options.cold in ("items", "users"):
        check_cold(options.cold, setting.split.config.protocol, setting.external)
        asked = cold_part(options.cold, setting.histories, setting.split, asked, part)
    if options.cold == "items":
        return _evaluate_cold_items(bundle, setting, part, asked, options, progress)
    seen = options.seen or bundle.manifest.seen
    model, longest = bundle.model, max(options.ks)
    lists = np.zeros((len(asked), longest), dtype=np.int64)

    def keep(rows: Ints, scores: Tensor) -> None:
        lists[rows] = top_k(scores, longest, model.items.tie_rank)[0]

    ranks = rank_targets(model, setting.histories, asked, seen, progress=progress, on_scores=keep)
    kept = np.ones(len(asked), dtype=np.bool_)
    dropped = int(ranks.cold.sum()) if options.cold == "drop" else 0
    if options.cold == "drop":
        ranks, kept = ranks.without_cold()
        if not len(ranks):
            raise DataError(f"every target of the {part} part is cold, and cold targets are dropped", "--cold miss")
    actions = setting.dataset.manifest.actions
    answers = Answers(
        bundle,
        setting.dataset.users["user"],
        setting.ids,
        actions,
        setting.histories,
        asked.select(kept),
        ranks,
        lists[kept],
        _decision(bundle.model, setting, options),
    )
    stated = _protocol(bundle, setting, part, options, asked)
    return measure(answers, part, stated, _counts(setting, asked, ranks, dropped, model.items.n, options), options)


def _evaluate_cold_items(
    bundle: Bundle,
    setting: _Setting,
    part: Literal["valid", "test"],
    asked: Part,
    options: Options,
    progress: Progress | None,
) -> Evaluation:
    """Requests for cold items: among all items that have events, and among the cold ones alone."""
    seen = options.seen or bundle.manifest.seen
    model, longest, data = bundle.model, max(options.ks), setting.histories
    cold = cold_items(data, setting.split)
    everything = model.items.candidates | cold
    lists = np.zeros((len(asked), longest), dtype=np.int64)

    def keep(rows: Ints, scores: Tensor) -> None:
        lists[rows] = top_k(scores, longest, model.items.tie_rank)[0]

    ranks = rank_targets(model, data, asked, seen, everything, progress, keep)
    ranks = of_cold(ranks, cold)
    actions = setting.dataset.manifest.actions
    answers = Answers(bundle, setting.dataset.users["user"], setting.ids, actions, data, asked, ranks, lists)
    stated = _protocol(bundle, setting, part, options, asked) | {
        "candidates": "items, cold ones among them",
        "candidate_items": int(everything.sum()),
        "scores_unseen": model.scores_unseen,
    }
    counts = _counts(setting, asked, ranks, 0, model.items.n, options)
    measured = measure(answers, part, stated, counts, options)
    return with_cold(measured, rank_cold_items(model, data, asked, seen, cold, progress), asked.user, options)


def _decision(model: Recommender, setting: _Setting, options: Options) -> float:
    """Predicted interest from which on an item is taken for liked; the threshold itself where nothing validates."""
    if options.decision is not None or model.interest_of is None or not len(setting.split.valid):
        return options.threshold if options.decision is None else options.decision
    _, _, predicted, observed = target_interests(model, setting.histories, setting.split.valid)
    return best_decision(predicted, observed, options.threshold)


def _protocol(bundle: Bundle, setting: _Setting, part: str, options: Options, asked: Part) -> dict[str, Any]:
    config = setting.split.config
    cuts = {"time": ("valid_from", "test_from"), "users": ("valid_share", "test_share", "seed")}.get(
        config.protocol, ()
    )
    tail = {name: value for name in ("last_share", "known_events") if (value := getattr(config, name)) is not None}
    targets = "one group each" if "group" in setting.histories.columns else "one event each"
    return {
        "split": config.protocol,
        **{name: getattr(config, name) for name in cuts},
        **({} if config.target_action is None else {"target_action": config.target_action}),
        **tail,
        "part": part,
        "refit": config.refit,
        "dataset": setting.dataset.manifest.hash,
        "external": setting.external,
        "candidates": "items seen in training",
        "candidate_items": int(bundle.model.items.candidates.sum()),
        "ties": "expectation over a random order",
        "targets": targets if config.known_events is None else "all events of a user that aren't known, as a set",
        "request_time": asked.request_time,
        **options.stated(bundle.manifest.seen),
    }


def _counts(
    setting: _Setting, asked: Part, ranks: Ranks, dropped: int, n_items: int, options: Options
) -> dict[str, int]:
    counts = {
        "targets": len(ranks.request),
        "cold_targets": int(ranks.cold.sum()),
        "dropped_cold_targets": dropped,
        "seen_targets": int(ranks.seen.sum()),
        "too_short_users": setting.split.too_short,
    }
    if options.cold in ("items", "users"):
        untrained = setting.split.train_end == setting.histories.start
        counts["cold_items"] = int(cold_items(setting.histories, setting.split).sum())
        counts["cold_users"] = int((untrained & (setting.histories.lengths > 0)).sum())
    if setting.external:
        requests = asked.requests(setting.histories)
        counts["unknown_history_events"] = requests.n_events - known_only(requests, n_items).n_events
    return counts
