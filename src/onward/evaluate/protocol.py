"""Run the protocol that a model was trained for: ranks, metrics with intervals, slices, counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from onward.bundle import Bundle, load_bundle
from onward.config import Protocol, SplitConfig
from onward.data.sequences import Ints
from onward.data.split import Part
from onward.errors import ConfigError, DataError, unknown
from onward.evaluate.cold import check_cold, cold_items, cold_part, of_cold, rank_cold_items, with_cold
from onward.evaluate.external import known_only
from onward.evaluate.interest import DEFAULT_THRESHOLD, best_decision
from onward.evaluate.measure import Answers, measure
from onward.evaluate.options import KS, Cold, Options
from onward.evaluate.ranking import Progress, Ranks, rank_targets
from onward.evaluate.results import Evaluation, write_evaluation
from onward.evaluate.setting import Setting, of_external, of_trained
from onward.evaluate.tracked import track_evaluation
from onward.evaluate.validate import target_interests, validation_metrics
from onward.models.base import Recommender
from onward.models.top_k import top_k

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
    setting = (of_external if external else of_trained)(bundle, dataset, protocol)
    result = _evaluate(bundle, setting, part, options, progress)
    run = Path(run_or_model)
    if not external and bundle.path == run / "model" and (run / "config.toml").is_file():
        only = f"-cold-{cold}" if cold in ("items", "users") else ""
        write_evaluation(run / "evaluation" / f"{part}{only}", result)
        track_evaluation(run, f"{part}{only}")
    return result


def _evaluate(
    bundle: Bundle, setting: Setting, part: Literal["valid", "test"], options: Options, progress: Progress | None
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
    setting: Setting,
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


def _decision(model: Recommender, setting: Setting, options: Options) -> float:
    """Predicted interest from which on an item is taken for liked; the threshold itself where nothing validates."""
    if options.decision is not None or model.interest_of is None or not len(setting.split.valid):
        return options.threshold if options.decision is None else options.decision
    _, _, predicted, observed = target_interests(model, setting.histories, setting.split.valid)
    return best_decision(predicted, observed, options.threshold)


def _protocol(bundle: Bundle, setting: Setting, part: str, options: Options, asked: Part) -> dict[str, Any]:
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
    setting: Setting, asked: Part, ranks: Ranks, dropped: int, n_items: int, options: Options
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
