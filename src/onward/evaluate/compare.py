"""Compare runs under one protocol: a row each, and paired tests against one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PrivateAttr

from onward.bundle import bundle_folder, load_bundle, read_manifest
from onward.config import RunConfig, read_toml
from onward.data.dataset import open_dataset
from onward.errors import ConfigError, FormatError, unknown
from onward.evaluate.bootstrap import Floats, PairedTest, Statistic, holm, paired_statistics, paired_tests
from onward.evaluate.interest import LOWER_IS_BETTER, Totals
from onward.evaluate.metrics import AT_K
from onward.evaluate.options import Options
from onward.evaluate.protocol import check_trained_on, evaluate, open_trained_dataset
from onward.evaluate.ranking import Progress
from onward.evaluate.results import Estimate, Evaluation, read_evaluation
from onward.manifest import BundleManifest
from onward.payload import Payload
from onward.runs import read_metrics
from onward.training_rows import TrainingRows, training_rows

FORMAT: Literal["onward.comparison/1"] = "onward.comparison/1"
OnModel = Callable[[str], Progress | None]
"""Called with a path before it is evaluated; gives the progress display to use."""


class Row(Payload):
    """One model of a comparison."""

    label: str
    """What it is called in this comparison."""
    path: str
    """The run or bundle, as given."""
    training: dict[str, Any]
    """Facts of its training from the manifest: `seconds`, `parameters`, `best_epoch`..."""
    training_rows: TrainingRows | None = None
    """How the rows that it trained on were made; None for a model that is fitted in one call."""
    events_per_second: float | None
    """Median training speed; None for a model that is fitted in one call."""
    evaluation: Evaluation
    """Its result."""


class Difference(Payload):
    """A paired test of one metric between a model and the baseline, on the same users."""

    metric: str
    """Name of the metric."""
    label: str
    """The model."""
    baseline: str
    """What it is compared with."""
    difference: Estimate
    """Of the means over requests, model less baseline, with its 95% interval."""
    p_value: float
    """Two-sided, of the paired bootstrap over users."""
    p_holm: float
    """The same, adjusted (Holm) for the number of models tested on this metric."""


class Comparison(Payload):
    """Models measured under one protocol."""

    format: Literal["onward.comparison/1"] = FORMAT
    """Format and version."""
    part: Literal["valid", "test"]
    """Which part was predicted."""
    protocol: dict[str, Any]
    """The protocol they share."""
    metric: str
    """The metric that orders the rows and picks the best."""
    baseline: str
    """Label of the row that the tests compare with: the one named, else the best."""
    rows: list[Row]
    """The models, best first."""
    tests: list[Difference]
    """Every ranking metric of every other row against the baseline."""
    audit: dict[str, Any] | None = None
    """The audit of the data set for this split, where it was made."""
    report: str | None = None
    """Where the HTML report was written."""
    _curves: dict[str, list[dict[str, Any]]] = PrivateAttr(default_factory=dict)

    @property
    def curves(self) -> dict[str, list[dict[str, Any]]]:
        """Label -> the lines of the run's metrics.jsonl; empty for a bundle."""
        return self._curves

    @property
    def by_training_rows(self) -> dict[str, list[str]]:
        """How training rows were made, in one line -> labels of the models that trained on such."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.training_rows is not None:
                found.setdefault(row.training_rows.text, []).append(row.label)
        return found

    def test(self, label: str, metric: str) -> Difference | None:
        """The test of a row's metric against the baseline; None for the baseline itself."""
        return next((test for test in self.tests if (test.label, test.metric) == (label, metric)), None)


def compare(
    paths: Sequence[str | Path],
    part: Literal["valid", "test"] = "test",
    baseline: str | None = None,
    *,
    dataset: str | Path | None = None,
    options: Options | None = None,
    audit: bool = False,
    on_model: OnModel = lambda path: None,
    metric: str | None = None,
) -> Comparison:
    """Compare runs or bundles that were trained on the same data and split.

    A stored evaluation of the same weights under the same options is used again; else the model is evaluated.

    Args:
        baseline: label or path of the row to test against; the best by default.
        dataset: as in `evaluate`.
        audit: audit the data set too, for the report.
        metric: what orders the rows and picks the best; NDCG by default.

    Raises:
        ConfigError: protocols that differ, naming what differs; no such baseline; a metric that a model lacks; nothing
            to compare.
        FormatError: an unsound folder, or another data set.
    """
    if not paths:
        raise ConfigError("nothing to compare", "for example: onward compare runs/popularity runs/sasrec")
    options = options or Options()
    manifests = [read_manifest(bundle_folder(path)) for path in paths]
    if dataset is not None:  # also where every result is stored already
        opened = open_dataset(dataset)
        for path, manifest in zip(paths, manifests, strict=True):
            check_trained_on(path, manifest, opened)
    labels = _labels(paths, manifests)
    results = [
        _result(Path(path), manifest, part, dataset, options, on_model)
        for path, manifest in zip(paths, manifests, strict=True)
    ]
    _check_same(labels, results)
    curves = {label: read_metrics(Path(path) / "metrics.jsonl") for label, path in zip(labels, paths, strict=True)}
    metric = _metric(metric, labels, results, options)
    rows = [
        Row(
            label=label,
            path=str(path),
            training=manifest.training,
            training_rows=training_rows(RunConfig.parse(read_toml(bundle_folder(path) / "config.toml"))),
            events_per_second=_speed(curves[label]),
            evaluation=result,
        )
        for label, path, manifest, result in zip(labels, paths, manifests, results, strict=True)
    ]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    rows.sort(key=lambda row: sign * row.evaluation.metrics[metric].value)
    reference = rows[0] if baseline is None else _named(rows, baseline)
    made = Comparison(
        part=part,
        protocol=reference.evaluation.protocol,
        metric=metric,
        baseline=reference.label,
        rows=rows,
        tests=_tests(rows, reference, options.seed),
        audit=_audit(paths[0], dataset) if audit else None,
    )
    made._curves.update(curves)
    return made


def _labels(paths: Sequence[str | Path], manifests: Sequence[BundleManifest]) -> list[str]:
    """The shortest names that tell the rows apart: models, else folders, else paths."""
    folders = [Path(path).resolve() for path in paths]
    for names in ([manifest.model for manifest in manifests], [folder.name for folder in folders]):
        if len(set(names)) == len(names):
            return names
    if len(set(folders)) < len(folders):
        raise ConfigError("the same run is given twice", "each run is compared once")
    return [str(path) for path in paths]


def _result(
    path: Path,
    manifest: BundleManifest,
    part: Literal["valid", "test"],
    dataset: str | Path | None,
    options: Options,
    on_model: OnModel,
) -> Evaluation:
    stored = _stored(path / "evaluation" / part)
    if stored is not None and stored.weights == manifest.files["weights.safetensors"]:
        expected = options.stated(manifest.seen)
        if all(stored.protocol.get(name) == value for name, value in expected.items()):
            return stored
    return evaluate(path, dataset, part, **vars(options), progress=on_model(str(path)))


def _stored(folder: Path) -> Evaluation | None:
    try:
        return read_evaluation(folder)
    except FormatError:
        return None  # absent, or of a version that can't be read: it is made anew


def _check_same(labels: Sequence[str], results: Sequence[Evaluation]) -> None:
    first = results[0].protocol
    for label, result in zip(labels[1:], results[1:], strict=True):
        names = [name for name in {**first, **result.protocol} if first.get(name) != result.protocol.get(name)]
        if names:
            parts = [f"{name} ({_short(first.get(name))} and {_short(result.protocol.get(name))})" for name in names]
            raise ConfigError(
                f"'{labels[0]}' and '{label}' were measured under protocols that differ in {', '.join(parts)}",
                "train them with the same split on the same data set, or compare them in separate tables",
            )
        if not results[0].table.select("user", "targets").equals(result.table.select("user", "targets")):
            raise FormatError(f"'{labels[0]}' and '{label}' answered different requests", "evaluate both again")


def _metric(asked: str | None, labels: Sequence[str], results: Sequence[Evaluation], options: Options) -> str:
    """The metric that orders the rows: the one asked for, which all must have, or NDCG."""
    if asked is None:
        return "ndcg@10" if 10 in options.ks else f"ndcg@{options.ks[0]}"
    for label, result in zip(labels, results, strict=True):
        if asked not in result.metrics:
            raise ConfigError(f"'{label}' has no " + unknown("metric", asked, result.metrics))
    return asked


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "..."


def _named(rows: Sequence[Row], baseline: str) -> Row:
    for row in rows:
        if baseline in (row.label, row.path, row.evaluation.model):
            return row
    raise ConfigError(unknown("baseline", baseline, [row.label for row in rows]))


def _tests(rows: Sequence[Row], reference: Row, seed: int) -> list[Difference]:
    others = [row for row in rows if row.label != reference.label]
    if not others:
        return []
    names = [name for name in reference.evaluation.table.columns if name.partition("@")[0] in (*AT_K, "accuracy")]
    base = reference.evaluation.table
    user = base["user"].rank("dense").to_numpy().astype(np.int64) - 1
    differences = [(row.evaluation.table.select(names) - base.select(names)).to_numpy() for row in others]
    found = paired_tests(user, np.concatenate(differences, axis=1), seed)
    by_metric = {name: found[column :: len(names)] for column, name in enumerate(names)}
    tests = [test for name, mine in by_metric.items() for test in _adjusted(name, others, mine, reference.label)]
    return tests + _interest_tests(others, reference, seed)


def _adjusted(metric: str, rows: Sequence[Row], found: Sequence[PairedTest], baseline: str) -> list[Difference]:
    """The tests of several models on one metric, a row each."""
    adjusted = holm([test.p_value for test in found])
    return [
        Difference(
            metric=metric,
            label=row.label,
            baseline=baseline,
            difference=test.difference,
            p_value=test.p_value,
            p_holm=p,
        )
        for row, test, p in zip(rows, found, adjusted, strict=True)
    ]


def _interest_tests(others: Sequence[Row], reference: Row, seed: int) -> list[Difference]:
    """Every metric of interest of the models that predicted it for the reference's pairs."""
    base = reference.evaluation.pairs
    if not base.height:
        return []
    same = ["user", "item", "observed"]
    alike = [
        row
        for row in others
        if row.evaluation.pairs.height and row.evaluation.pairs.select(same).equals(base.select(same))
    ]
    named, theirs = _interest_totals(reference.evaluation)
    found = [paired_statistics(_interest_totals(row.evaluation)[1], theirs, seed) for row in alike]
    return [
        test
        for column, name in enumerate(named)
        for test in _adjusted(name, alike, [tests[column] for tests in found], reference.label)
    ]


def _interest_totals(result: Evaluation) -> tuple[tuple[str, ...], tuple[Floats, Statistic]]:
    """Names of the metrics of interest, and what they are resampled from."""
    pairs = result.pairs
    user = pairs["user"].rank("dense").to_numpy().astype(np.int64) - 1
    predicted, observed = pairs["predicted"].to_numpy(), pairs["observed"].to_numpy()
    threshold = float(result.protocol["threshold"])
    decision = threshold if result.decision is None else result.decision
    totals = Totals.of(predicted, observed, threshold, decision, result.value_range)
    return totals.names, (totals.sums(user, int(user.max()) + 1), totals.metrics)


def _audit(path: str | Path, dataset: str | Path | None) -> dict[str, Any]:
    from onward.data.audit import audit

    bundle = load_bundle(path)
    found: Mapping[str, Any] = audit(open_trained_dataset(bundle, dataset), bundle.manifest.split).as_dict()
    return dict(found)


def _speed(lines: Sequence[Mapping[str, Any]]) -> float | None:
    speeds = [
        line["events_per_second"] for line in lines if line.get("kind") == "train" and "events_per_second" in line
    ]
    return float(np.median(speeds)) if speeds else None
