"""The HTML report: every number is in its tables, nothing is fetched, and no text becomes code."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from evaluation_helpers import write_run
from report_helpers import EVIL, evil_comparison, make_comparison, make_runs

from onward.cli.main import app
from onward.config import RunConfig, TrainConfig, apply_settings
from onward.data.dataset import open_dataset
from onward.errors import FormatError, OutputError
from onward.evaluate import report_parts as parts
from onward.evaluate import report_text as text
from onward.evaluate import report_verdict as verdict
from onward.evaluate.compare import Comparison, compare
from onward.evaluate.page import safe_json
from onward.evaluate.report import write_report
from onward.evaluate.report_facts import commands, prepare_command, read_facts, train_command
from onward.evaluate.results import Estimate


class Page(HTMLParser):
    """The tags of a page, the cells of each table row, and the content of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag in ("script", "style"):
            self.scripts.append("")
        if tag in ("script", "style", "th", "td"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.scripts[-1] += data
            return
        self.text.append(data)
        if self._open:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())

    def row(self, first: str, *inside: str) -> str:
        """The first table row that starts with a cell of this text and holds the other texts."""
        rows = [" ".join(cells) for cells in self.rows if cells and cells[0] == first]
        return next(row for row in rows if all(text in row for text in inside))

    def data(self) -> dict:
        return json.loads(next(script for script in self.scripts if script.startswith('{"title"')))


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def list_row(page: Page, label: str) -> str:
    return next(
        " ".join(cells) for cells in page.rows if cells and cells[0].split(" ")[: len(label.split())] == label.split()
    )


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return make_comparison(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return read(write_report(comparison, tmp_path_factory.mktemp("page") / "report.html"))


def test_every_metric_of_every_model_is_in_the_tables(page: Page, comparison: Comparison) -> None:
    for row in comparison.rows:
        result = page.row(row.label)
        for metric in ("ndcg@10", "hr@10", "mrr@10"):
            estimate = row.evaluation.metrics[metric]
            for number in (estimate.value, estimate.low, estimate.high):
                assert f"{number:.4f}" in result
        assert f"{row.training['parameters']:,}" in result
    for metric in comparison.rows[0].evaluation.metrics:
        line = page.row(text.metric_name(metric))
        assert all(f"{row.evaluation.metrics[metric].value:.4f}" in line for row in comparison.rows), metric


def test_training_time_and_speed(page: Page) -> None:
    assert "1 min 15 s" in page.row("markov")
    assert "1,234 events/s" in page.row("markov")
    assert "0.5 s" in page.row("popularity")


def test_paired_tests_say_what_can_be_said(page: Page, comparison: Comparison) -> None:
    test = comparison.test("popularity", "ndcg@10")
    row = page.row("popularity", "worse")
    assert f"−{abs(test.difference.value):.4f}" in row
    assert text.p_value(test.p_holm) in row
    assert f"{test.detectable:.4f}" in row
    base = comparison.rows[0].evaluation.metrics["ndcg@10"].value
    assert f"{test.detectable / base:.1%}" in row
    assert "The test: paired bootstrap over users, p adjusted" in " ".join(page.text)


def test_a_long_training_is_a_few_hundred_points(comparison: Comparison) -> None:
    label = comparison.rows[0].label
    lines = [
        {"kind": "train", "step": n, "epoch": n / 10, "seconds": float(n), "loss": 1 / n} for n in range(1, 50_001)
    ]
    assert parts.losses(comparison)[label] == []
    longer = comparison.model_copy()
    longer._curves = {label: lines}
    points = parts.losses(longer)[label]
    assert 200 <= len(points) < 400
    assert points[-1]["seconds"] == 50_000
    assert {point["value"] for point in points} <= {line["loss"] for line in lines}


def test_each_seed_has_a_row(tmp_path: Path) -> None:
    make_runs(tmp_path, names=())
    dataset = open_dataset(tmp_path / "log-last")
    runs = [write_run(tmp_path / f"r/seed-{seed}", dataset, "random", seed=seed, protocol="last") for seed in (0, 1)]
    comparison = compare([tmp_path / "r", write_run(tmp_path / "markov", dataset, "markov", protocol="last")])
    page = read(write_report(comparison, tmp_path / "report.html"))
    seeds = next(row for row in comparison.rows if row.seeds).seeds
    assert [one.path for one in seeds] == [str(run) for run in runs]
    for one in seeds:
        cells = next(cells for cells in page.rows if cells[1:2] == [str(one.seed)])
        assert cells[2] == f"{one.metrics['ndcg@10']:.4f}"
    assert "The test: t-test over users and seeds, p adjusted" in " ".join(page.text)


def test_slices_lists_counts_protocol_and_settings_are_complete(page: Page, comparison: Comparison) -> None:
    evaluation = comparison.rows[0].evaluation
    for key in ("history_length", "target_popularity"):
        for bucket in evaluation.slices[key]:
            row = page.row(bucket.label.replace("-", "–"), f"{bucket.metrics['ndcg@10'].value:.4f}")
            assert f" {bucket.requests:,}" in row
    for name, value in evaluation.lists.items():
        assert f"{value:.3f}".replace("-", "−") in list_row(page, text.list_name(name)[0])
    for name, value in evaluation.counts.items():
        assert f"{value:,}" in page.row(name.replace("_", " ").capitalize())
    for name, value in comparison.protocol.items():
        row = page.row(name)
        plain = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        assert (plain.lower() if isinstance(value, bool) else plain) in row
    assert "in 'genres'" in list_row(page, "Diversity@10")
    assert 'name = "markov"' in "".join(page.text)


def test_the_audit_is_there_with_what_to_do(page: Page, comparison: Comparison) -> None:
    whole = "".join(page.text)
    assert len(comparison.audit["findings"]) == 12
    for finding in comparison.audit["findings"]:
        assert finding["found"] in whole
        assert finding["advice"] in whole


def test_without_an_audit_the_report_says_so(tmp_path: Path) -> None:
    page = read(write_report(make_comparison(tmp_path, audit=False), tmp_path / "report.html"))
    assert "was not audited" in "".join(page.text)


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        address = attributes.get("href")
        assert address is None or address.startswith(("#", "data:")), address
    styles = next(script for script in page.scripts if ":root" in script)
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert not any("sourceMappingURL" in script for script in page.scripts)


def test_links_lead_somewhere_and_ids_are_unique(tmp_path: Path) -> None:
    both = [make_comparison(tmp_path, "last"), make_comparison(tmp_path, "time")]
    page = read(write_report(both, tmp_path / "report.html"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in page.tags if tag == "a"} <= set(ids)
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)
    assert [panel["badge"] for panel in page.data()["panels"]] == [
        "protocol last · test part",
        "protocol time · test part",
    ]
    colours = [{m["label"]: m["series"] for m in panel["models"]} for panel in page.data()["panels"]]
    assert colours[0] == colours[1]


def test_text_never_becomes_code(tmp_path: Path) -> None:
    comparison = evil_comparison(tmp_path)
    html = write_report(comparison, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in html
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert EVIL in {model["label"] for model in page.data()["panels"][0]["models"]}
    assert EVIL in "".join(page.text)


def test_safe_json_survives_the_end_of_a_script() -> None:
    value = {"a": "</script><!--<script>", "b": "& \u2028 é", "c": [1, None, 0.5]}
    dumped = safe_json(value)
    assert json.loads(dumped) == value
    assert not set("<>&") & set(dumped)
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json(float("nan"))


def test_a_single_run(tmp_path: Path) -> None:
    comparison = compare(make_runs(tmp_path)[1:2])
    page = read(write_report(comparison, tmp_path / "report.html"))
    panel = page.data()["panels"][0]
    assert [key for key, _ in panel["sections"]] == [
        "results",
        "costs",
        "curves",
        "ranks",
        "slices",
        "examples",
        "lists",
        "audit",
        "protocol",
        "reproduce",
    ]
    assert page.data()["title"] == "markov on log-last"
    assert "comes first" not in panel["lede"]
    for one in comparison.rows[0].evaluation.detectable:
        assert f"{one.share:.1%} where the answers of the two correlate by {one.correlation:g}" in " ".join(page.text)
    assert [point["kept"] for point in panel["models"][0]["curve"]] == [False, True, False]


def test_a_report_is_replaced_and_another_file_is_not(tmp_path: Path, comparison: Comparison) -> None:
    path = write_report(comparison, tmp_path / "report.html")
    path.write_text(path.read_text(encoding="utf-8") + "<!-- old -->", encoding="utf-8")
    write_report(comparison, path)
    assert "<!-- old -->" not in path.read_text(encoding="utf-8")
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<html>my thesis</html>", encoding="utf-8")
    with pytest.raises(OutputError, match=r"thesis\.html exists and is not a report"):
        write_report(comparison, thesis)
    assert thesis.read_text(encoding="utf-8") == "<html>my thesis</html>"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "thesis.html"]


def test_a_run_that_is_gone_is_named(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, audit=False)
    (tmp_path / "last").rename(tmp_path / "moved")
    with pytest.raises(FormatError, match="markov"):
        write_report(comparison, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_commands_parse_and_leave_defaults_out(comparison: Comparison) -> None:
    lines = commands([(row.path, read_facts(row.path), 0) for row in comparison.rows], comparison.part)
    for line in lines:
        if line.startswith("#"):
            continue
        name, *words = shlex.split(line)
        assert name == "onward"
        app.parse_args(words, exit_on_error=False, print_error=False)
    train = next(line for line in lines if "--model markov" in line)
    assert "--protocol last" in train
    assert "--set" not in train
    assert lines[-1] == f"onward compare {' '.join(row.path for row in comparison.rows)} -o report.html"


@pytest.mark.parametrize(("seeds", "command"), [(0, "evaluate"), (5, "compare")])
def test_the_last_command_writes_such_a_report(comparison: Comparison, seeds: int, command: str) -> None:
    path = comparison.rows[0].path
    assert commands([(path, read_facts(path), seeds)], "valid")[-1] == (
        f"onward {command} {path} --part valid -o report.html"
    )


def test_the_train_command_says_what_was_changed(tmp_path: Path) -> None:
    values = {
        "seed": 3,
        "split": {"protocol": "time", "valid_share": 0.2, "valid_from": 5, "test_from": 9, "refit": True},
        "train": {"epochs": 7},
        "model": {"name": "markov", "backoff": 2.5},
    }
    line = train_command("runs/a b", RunConfig.parse(values), "data")
    assert line == (
        "onward train data --model markov -o 'runs/a b' --protocol time --refit --seed 3 "
        "--set split.valid_share=0.2 --set model.backoff=2.5"
    )
    neural = train_command("r", RunConfig.parse({"train": {"epochs": 7}, "model": {"name": "gru"}}), "data")
    assert neural.endswith("--set train.epochs=7")
    changed = {"train": {"augment": ["crop", "drop"], "windows": "prefix"}, "model": {"name": "gru"}}
    augmented = shlex.split(train_command("r", RunConfig.parse(changed), "data"))
    values = apply_settings({}, [word for word in augmented if word.startswith("train.")])
    assert TrainConfig.parse(values["train"]) == RunConfig.parse(changed).train


@pytest.mark.parametrize(
    ("protocol", "told", "timed", "shown"),
    [
        ("last", "none", True, ""),
        ("last", "target", True, "target"),
        ("users", "none", True, "none"),
        ("users", "none", False, ""),
        ("time", "target", True, ""),
        ("time", None, True, ""),
    ],
)
def test_the_train_command_says_the_request_time_where_it_is_unusual(protocol, told, timed, shown) -> None:
    values = {"split": {"protocol": protocol, "request_time": told}, "model": {"name": "markov"}}
    line = train_command("run", RunConfig.parse(values), "data", timed)
    assert line.endswith(f" --set split.request_time={shown}") if shown else "request_time" not in line


def test_the_prepare_command_follows_the_manifest(tmp_path: Path) -> None:
    run = make_runs(tmp_path, names=("popularity",))[0]
    facts = read_facts(run)
    assert prepare_command(facts, "data")[1] == "onward prepare made.csv -o data --user user --item item"
    assert facts.config.dataset[:12] in prepare_command(facts, "data")[0]


def test_interest_metrics_are_best_when_low() -> None:
    low, high = Estimate(value=0.1, low=0, high=1), Estimate(value=0.2, low=0, high=1)
    assert verdict.best([high, None, low], "mse") == 2
    assert verdict.best([high, None, low], "ndcg@10") == 0
    assert verdict.best([high, None, high], "ndcg@10") is None
    assert verdict.best([high], "ndcg@10") is None


def test_models_of_interest_lead_with_their_error(comparison: Comparison, tmp_path: Path) -> None:
    rows = []
    for number, row in enumerate(comparison.rows):  # the best ranker has the largest error
        error = 0.3 - number / 10
        names = dict.fromkeys(("accuracy", "recall", "f1"), Estimate(value=0.5, low=0.4, high=0.6))
        metrics = {**row.evaluation.metrics, "mse": Estimate(value=error, low=error, high=error), **names}
        rows.append(row.model_copy(update={"evaluation": row.evaluation.model_copy(update={"metrics": metrics})}))
    interest = comparison.model_copy(update={"rows": rows})
    page = read(write_report([comparison, interest], tmp_path / "report.html"))
    ranking, panel = page.data()["panels"]
    assert (ranking["main"], panel["main"], panel["ranking"]) == ("ndcg@10", "mse", "ndcg@10")
    assert panel["headline"] == ["mse", "accuracy", "recall", "f1"]
    assert panel["lede"].startswith(f"{rows[-1].label} comes first with MSE 0.1000")
    assert panel["best"]["mse"] == len(rows) - 1
    assert panel["title"] != ranking["title"]
    # of interest there are no means over users
    assert "".join(page.text).count("mean over users") == len(ranking["headline"])


def test_users_protocol(tmp_path: Path) -> None:
    make_runs(tmp_path, names=())
    dataset = open_dataset(tmp_path / "log-last")
    run = write_run(tmp_path / "users" / "popularity", dataset, "popularity", protocol="users")
    page = read(write_report(compare([run], audit=True), tmp_path / "report.html"))
    assert "Predicting for users held out" in "".join(page.text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0.01, "<0.1 s"),
        (0.44, "0.4 s"),
        (12.2, "12 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert text.duration(seconds) == said


def test_words_and_figures() -> None:
    assert text.metric_name("ndcg@10") == "NDCG@10"
    assert text.metric_name("accuracy@1") == "Accuracy@1"
    assert "first 10" in text.metric_meaning("hr@10")
    assert "threshold" in text.metric_meaning("recall")
    assert "error" in text.metric_meaning("mse")
    assert text.list_name("popularity_lift@5")[0] == "Popularity lift@5"
    assert (text.fixed(-0.5, 2), text.fixed(None)) == ("−0.50", "–")
    assert (text.p_value(0.0004), text.p_value(0.0421)) == ("<0.001", "0.042")
    assert (text.short(97), text.short(0.2344), text.short(1.0)) == ("97", "0.2344", "1")
    assert (text.percent(0.584), text.percent(0.0001), text.percent(None)) == ("58.4%", "<0.1%", "–")
    assert (text.counted(1, "note"), text.counted(2, "note")) == ("1 note", "2 notes")
    assert text.moment(889237269000000) == "1998-03-07 02:21:09 UTC"
