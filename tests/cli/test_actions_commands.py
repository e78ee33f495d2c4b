"""Many kinds of action through the commands: prepare, train for one, evaluate and compare by action, recommend."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.bundle import load_bundle
from onward.cli.main import main
from onward.data.dataset import open_dataset
from onward.data.prepare import prepare
from onward.models.features.attach import histories_for

ITEMS = 20
SMALL = [
    "--set",
    "train.epochs=20",
    "--set",
    "model.width=16",
    "--set",
    "model.dropout=0",
    "--set",
    "train.batch_tokens=256",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shoppers view items at random, put the one after the last view into the cart, and buy the one after that."""
    rng, rows = np.random.default_rng(0), []
    for user in range(80):
        at = 1_700_000_000 + user
        for _ in range(4):
            views = rng.integers(0, ITEMS, 2)
            seen = [*((one, "view") for one in views), (views[-1] + 1, "cart"), (views[-1] + 2, "purchase")]
            for item, action in seen:
                at += 60
                rows.append((f"u{user}", f"i{item % ITEMS}", at, action))
    folder = tmp_path_factory.mktemp("actions")
    log = folder / "log.csv"
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "event_type"], orient="row").write_csv(log)
    out = folder / "dataset"
    assert main(["prepare", str(log), "-o", str(out), "--json"]) == 0
    return out


@pytest.fixture(scope="module")
def runs(dataset: Path) -> list[str]:
    """SASRec that reads actions and learns purchases alone; and popularity of purchases."""
    kept = dataset.parent
    asked = ["--set", "split.target_action=purchase", "--protocol", "last"]
    sasrec = ["--model", "sasrec", "--features", "all", *SMALL]
    assert main(["train", str(dataset), *sasrec, *asked, "-o", str(kept / "sasrec")]) == 0
    assert main(["train", str(dataset), "--model", "popularity", *asked, "-o", str(kept / "popularity")]) == 0
    return [str(kept / "sasrec"), str(kept / "popularity")]


def evaluated(run: str, capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert main(["evaluate", run, "--seen", "include", "--json"]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def test_purchases_alone_are_asked_for_and_found(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sasrec, popularity = (evaluated(run, capsys) for run in runs)
    assert sasrec["protocol"]["target_action"] == "purchase"
    assert [row["label"] for row in sasrec["slices"]["target_action"]] == ["purchase"]
    assert sasrec["requests"] == 80
    # the purchase follows from the cart before it, which popularity doesn't look at
    assert sasrec["metrics"]["ndcg@5"]["value"] > 0.7 > popularity["metrics"]["ndcg@5"]["value"]


def test_recommend_reads_actions_of_the_history(
    runs: list[str], dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = open_dataset(dataset)
    capsys.readouterr()
    assert main(["recommend", runs[0], "--user", "u3", "-k", "3", "--seen", "include", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    whole = made.histories.select(np.flatnonzero(made.users["user"].to_numpy() == "u3"))
    assert len(found["history"]) == whole.n_events == 16
    model = load_bundle(Path(runs[0]) / "model").model
    asked = histories_for(model, made).select(np.flatnonzero(made.users["user"].to_numpy() == "u3"))
    wanted = [made.catalog.ids[item - 1] for item in model.recommend(asked, 3, seen="include").items[0]]
    assert [one["item"] for one in found["items"]] == wanted
    # as if all had been views: the list is another one, or the scores are
    plain = replace(asked, columns={**asked.columns, "action": np.full_like(asked.columns["action"], 2)})
    assert not np.allclose(
        model.recommend(plain, 3, seen="include").scores, model.recommend(asked, 3, seen="include").scores
    )


def test_weights_shift_what_is_learned_and_metrics_are_by_action(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, given = {}, []
    for name, weights in (("views", {"view": 50.0}), ("sales", {"purchase": 50.0})):
        run = str(dataset.parent / name)
        settings = [
            word for action, weight in weights.items() for word in ("--set", f"train.action_weights.{action}={weight}")
        ]
        model = ["--model", "sasrec", *SMALL, "--set", "train.epochs=3", *settings]
        assert main(["train", str(dataset), *model, "--protocol", "users", "-o", run]) == 0
        rows = evaluated(run, capsys)["slices"]["target_action"]
        assert [row["label"] for row in rows] == ["cart", "purchase", "view"]
        found[name] = {row["label"]: row["metrics"]["ndcg@10"]["value"] for row in rows}
        given.append(run)
    assert found["sales"]["purchase"] > found["views"]["purchase"]
    assert main(["compare", *given]) == 0
    shown = capsys.readouterr().out
    assert "ndcg@10 by action" in shown
    assert "purchase" in shown


def test_an_action_that_the_data_lacks_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", "popularity", "--set", "split.target_action=bought", "-o", str(dataset.parent / "none")]
    assert main(["train", str(dataset), *asked, "--json"]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "bought" in message
    assert "purchase" in message


def test_a_file_an_action_becomes_one_log(tmp_path: Path) -> None:
    frames = []
    for action, rows in (("view", [(1, 1), (1, 2)]), ("cart", [(1, 2)]), ("purchase", [(1, 2)])):
        pl.DataFrame(rows, schema=["visitorid", "itemid"], orient="row").write_csv(
            tmp_path / f"{action}.dat", separator="\t"
        )
        frames.append(pl.read_csv(tmp_path / f"{action}.dat", separator="\t").with_columns(action=pl.lit(action)))
    made = prepare(pl.concat(frames), tmp_path / "dataset", user="visitorid", item="itemid")
    assert made.manifest.actions == ["cart", "purchase", "view"]
    names = [made.manifest.actions[code] for code in made.histories.columns["action"]]
    assert names == ["view", "view", "cart", "purchase"]
