"""How sure a model is of its lists, and how right: against a slow version, and of a model that was made too sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onward.bundle import Bundle, load_bundle
from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.data.split import Part, split
from onward.data.synthetic import chain_events
from onward.evaluate.compare import compare
from onward.evaluate.report import write_report
from onward.evaluate.report_confidence import confidence
from onward.train.run import train

SMALL = ["train.epochs=6", "model.width=16", "train.learning_rate=0.02", "train.batch_tokens=256"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    log = chain_events(users=150, items=30, length=12, noise=0.4, seed=0)
    return open_dataset(prepare(log, tmp_path_factory.mktemp("sure") / "dataset").path)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gru") / "gru"
    return train(dataset, "gru", folder, protocol="last", settings=SMALL, progress=False).folder


def _test_part(bundle: Bundle, dataset: Dataset) -> Part:
    return split(dataset.histories, bundle.manifest.split, dataset.manifest.actions).test


def test_points_are_those_of_a_slow_version(dataset: Dataset, run: Path) -> None:
    bundle = load_bundle(run)
    model, part = bundle.model, _test_part(bundle, dataset)
    points = confidence(model, dataset.histories, part, "exclude", seed=0)
    found = []
    requests, (_, places) = part.requests(dataset.histories), part.targets(dataset.histories)
    for row in range(len(part)):
        request = requests.select(slice(row, row + 1))
        scores = model.score(request)[0].detach().numpy().astype(np.float64)
        known = set(request.item[request.start[0] : request.end[0]].tolist())
        allowed = [item for item in range(1, 31) if model.items.candidates[item] and item not in known]
        likely = np.exp([scores[item] - scores[allowed].max() for item in allowed])
        likely /= likely.sum()
        order = np.argsort(-likely)[:10]
        target = int(dataset.histories.item[places[row]])
        found.append((likely[order].sum(), target in {allowed[place] for place in order}))
    found.sort(key=lambda one: one[0])
    groups = np.array_split(np.array(found, dtype=np.float64), 10)
    assert [point["pairs"] for point in points] == [len(group) for group in groups]
    assert [point["predicted"] for point in points] == pytest.approx([group[:, 0].mean() for group in groups])
    assert [point["observed"] for point in points] == pytest.approx([group[:, 1].mean() for group in groups])


def test_a_model_that_was_made_too_sure_lies_below_the_line(dataset: Dataset, run: Path) -> None:
    bundle = load_bundle(run)
    part = _test_part(bundle, dataset)

    def gap() -> float:
        """By how much it promises more than it keeps, on average."""
        points = confidence(bundle.model, dataset.histories, part, "exclude", seed=0)
        return float(np.mean([point["predicted"] - point["observed"] for point in points]))

    before = gap()
    score = bundle.model.score_histories
    bundle.model.score_histories = lambda histories: 5 * score(histories)  # five times as far apart
    assert gap() > before + 0.1


def test_scores_that_are_no_probabilities_have_no_curve(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    settings = [*SMALL, "model.loss=bpr"]
    bpr = train(dataset, "gru", tmp_path / "bpr", protocol="last", settings=settings, progress=False).folder
    markov = train(dataset, "markov", tmp_path / "markov", protocol="last", progress=False).folder
    for folder in (bpr, markov):
        bundle = load_bundle(folder)
        assert confidence(bundle.model, dataset.histories, _test_part(bundle, dataset), "exclude", seed=0) == []
    page = write_report(compare([run, markov]), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "How often lists of ten were right" in page
    assert "Calibration" not in write_report(compare([bpr, markov]), tmp_path / "none.html").read_text(encoding="utf-8")
