"""What the audit says of features of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from onward.config import SplitConfig
from onward.data.audit import Audit, audit
from onward.data.prepare import prepare

ROWS = 400
RNG = np.random.default_rng(7)
ITEM = RNG.integers(0, 40, ROWS)


def audited(folder: Path, toml: str = "", **columns: Any) -> Audit:
    log = {"user": np.arange(ROWS) % 20, "item": ITEM, "time": np.arange(ROWS) // 2}
    (folder / "features.toml").write_text(toml)
    dataset = prepare(pl.DataFrame(log | columns), folder / "dataset", features=folder / "features.toml")
    return audit(dataset, SplitConfig(protocol="time"))


def known(*names: str, kind: str = "category") -> str:
    return "".join(f'[events.{name}]\nkind = "{kind}"\nknown_at_request = true\n' for name in names)


def test_data_without_features_has_no_such_findings(tmp_path):
    assert not {"request_features", "item_features"} & {finding.code for finding in audited(tmp_path).findings}


def test_a_device_is_no_leak(tmp_path):
    found = audited(tmp_path, known("device"), device=RNG.choice(["phone", "desk"], ROWS), price=RNG.random(ROWS))
    finding = found["request_features"]
    assert (finding.severity, finding.number, finding.of) == ("ok", 1, 2)
    assert "Of the event to predict device is known; price never is." in finding.found
    assert found["item_features"].severity == "ok"


@pytest.mark.parametrize("kind", ["category", "number"])
def test_a_feature_that_names_the_target_is_a_leak(tmp_path, kind):
    found = audited(tmp_path, known("shelf", kind=kind), shelf=ITEM * 3 + 1)["request_features"]
    assert found.severity == "warning"
    assert "shelf alone guesses 100.0% of the targets" in found.found
    assert "shelf" in found.advice


def test_the_action_may_be_known(tmp_path):
    found = audited(tmp_path, "[events.action]\nknown_at_request = true", action=RNG.choice(["buy", "view"], ROWS))
    assert found["request_features"].found.startswith("Of the event to predict action is known. action alone guesses")
    assert (found["request_features"].number, found["request_features"].severity) == (1, "ok")


def test_a_feature_that_differs_within_a_group_is_not_of_the_request(tmp_path):
    baskets = np.arange(ROWS) // 40
    shop = (np.arange(ROWS) // 40) % 3
    found = audited(tmp_path, known("shop", "place"), basket=baskets, shop=shop, place=RNG.integers(0, 3, ROWS))
    finding = found["request_features"]
    assert finding.severity == "warning"
    assert "place differs within" in finding.found
    assert "shop differs" not in finding.found


def test_a_feature_of_items_is_told(tmp_path):
    found = audited(tmp_path, brand=[f"b{item % 5}" for item in ITEM], shop=RNG.integers(0, 5, ROWS))["item_features"]
    assert (found.severity, found.number, found.of) == ("note", 1, 2)
    assert found.found == "brand has one value for each item."
    assert "--items" in found.advice
