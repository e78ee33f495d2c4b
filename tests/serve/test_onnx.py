"""ONNX graphs of encoders: equal to the weights, refused where they differ, and what can't become one."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_helpers import make_bundle, shop
from numpy.typing import NDArray

from onward.bundle import ENCODER, Bundle, add_metrics, export, load_bundle, read_manifest
from onward.cli.main import main
from onward.data.dataset import Dataset, sha256
from onward.data.sequences import Histories
from onward.errors import ConfigError, FormatError, MissingExtraError
from onward.manifest import Measurement
from onward.models import compiled
from onward.models.base import Bools, Lists
from onward.models.onnx import TOLERANCE, OnnxEncoder, answer_by_graph
from onward.models.onnx_export import export_encoder, why_not
from onward.models.quick import Quick
from onward.models.sequence import SequenceModel
from onward.recommend import Seen
from onward.serve.lists.scoring import Scorer
from onward.serve.models.folder import load_model
from onward.serve.settings import ServeConfig

pytest.importorskip("onnxscript", reason="the extra onnx is not installed")


@pytest.fixture(scope="module")
def exported(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of SASRec with a graph, as `onward export --onnx` makes it."""
    folder = tmp_path_factory.mktemp("exported")
    make_bundle(folder / "plain", data, "sasrec", width=8, max_length=10, heads=2)
    assert main(["export", str(folder / "plain"), "-o", str(folder / "model"), "--onnx"]) == 0
    return folder / "model"


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def histories(bundle: Bundle, lengths: list[int]) -> Histories:
    rng = np.random.default_rng(3)
    lists = [rng.integers(1, len(bundle.catalog) + 1, length).tolist() for length in lengths]
    return Histories.from_lists(lists, len(bundle.catalog))


def assert_equal(bundle: Bundle, encoder: OnnxEncoder) -> None:
    assert isinstance(bundle.model, SequenceModel)
    for lengths in ([1], [2], [10], [25], [1, 2, 3, 10, 25, 4], [9] * 40 + [1] * 40):
        asked = histories(bundle, lengths)
        wanted, found = bundle.model.last_states(asked).numpy(), encoder.states(asked)
        assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gru", {}),
        ("lstm", {}),
        ("sasrec", {"blocks": 3}),
        ("esasrec", {"heads": 2}),
        ("nextitnet", {}),
        ("bsarec", {}),
    ],
)
def test_states_are_those_of_the_weights(name: str, settings: dict[str, object], data: Dataset, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", data, name, width=8, max_length=10, **settings)
    assert isinstance(bundle.model, SequenceModel)
    state = bundle.model.state()
    torch.manual_seed(0)
    biases = {name: torch.randn_like(values) for name, values in state.items() if name.endswith("bias")}
    bundle.model.load_state(state | biases)
    assert_equal(bundle, OnnxEncoder(export_encoder(bundle.model, False), bundle.model, threads=1))
    assert logging.getLogger("torch").isEnabledFor(logging.ERROR)
    assert logging.root.manager.disable == logging.NOTSET


def test_a_bundle_with_a_graph(exported: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "is_built", lambda: False)  # which would be sooner than a graph
    bundle = load_bundle(exported)
    assert bundle.manifest.files[ENCODER] == sha256(exported / ENCODER)
    assert isinstance(bundle.model, SequenceModel)
    assert_equal(bundle, OnnxEncoder((exported / ENCODER).read_bytes(), bundle.model, threads=1))
    scorer = load_model("it", exported, ServeConfig()).scorer
    assert scorer.speed is not None
    assert scorer.speed.onnx is not None
    assert scorer.uses_onnx
    asked = data.histories.select(slice(0, 20))
    np.testing.assert_allclose(scorer.scores(asked), bundle.model.score_histories(asked), rtol=1e-5, atol=1e-6)
    assert not Scorer(bundle, onnx=False).uses_onnx


class Counted:
    """What answers quickly, and what it was asked."""

    def __init__(self, quick: Quick) -> None:
        self.quick, self.asked = quick, list[tuple[str, int]]()

    def states(self, histories: Histories) -> NDArray[np.float32]:
        self.asked.append(("states", len(histories)))
        return self.quick.states(histories)

    def best(self, history: Histories, k: int, allowed: Bools, seen: Seen) -> Lists | None:
        found = self.quick.best(history, k, allowed, seen)
        self.asked.append(("none" if found is None else "best", len(history)))
        return found


def quickly(exported: Path) -> tuple[SequenceModel, SequenceModel, Counted]:
    """The same model by its weights, by its graph, and what the graph is asked."""
    plain, quick = load_bundle(exported).model, load_bundle(exported, onnx=True).model
    assert isinstance(plain, SequenceModel)
    assert isinstance(quick, SequenceModel)
    assert quick.quick is not None
    quick.quick = counted = Counted(quick.quick)
    return plain, quick, counted


def assert_same(found: Lists, wanted: Lists) -> None:
    np.testing.assert_array_equal(found.items, wanted.items)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4)
    np.testing.assert_array_equal(found.fallback, wanted.fallback)
    assert (found.items.dtype, found.scores.dtype) == (wanted.items.dtype, wanted.scores.dtype)


def test_a_loaded_bundle_answers_few_histories_by_its_graph(exported: Path, data: Dataset) -> None:
    """The lists are those of the weights; many histories go through the weights, and so do all once these change."""
    plain, quick, counted = quickly(exported)
    for some in (data.histories.select(slice(0, 1)), data.histories.select(slice(0, 8)), data.histories):
        assert_same(quick.recommend(some, 5), plain.recommend(some, 5))
    assert counted.asked == [("best", 1), ("states", 8)]
    quick.load_state(plain.state())
    assert quick.quick is None


@pytest.mark.parametrize("seen", ["exclude", "include"])
@pytest.mark.parametrize("only", [None, 2])
def test_a_single_history_is_answered_as_by_the_weights(exported: Path, seen: Seen, only: int | None) -> None:
    """Histories longer than the model reads too: what it doesn't read was seen all the same. Padding is no item, even
    where it is allowed."""
    plain, quick, counted = quickly(exported)
    allowed = None if only is None else np.arange(plain.items.n + 1) % only == 0
    for row, length in enumerate([1, 2, 9, 10, 11, 40] * 5):
        items = np.random.default_rng(row).integers(1, 56, length).tolist()
        history = Histories.from_lists([items], plain.items.n)
        for k in (1, 5, 10):
            wanted, found = (model.recommend(history, k, allowed, seen) for model in (plain, quick))
            assert_same(found, wanted)
            assert seen == "include" or not set(found.items[0]) & set(items)
            assert 0 not in found.items[0] or (found.items[0] == 0).sum() == np.isneginf(found.scores[0]).sum()
    assert {"best"} <= {what for what, _ in counted.asked}


def test_what_the_graph_cannot_answer_alone_is_answered_by_the_weights(exported: Path) -> None:
    plain, quick, counted = quickly(exported)
    one = Histories.from_lists([[3, 1, 4]], plain.items.n)
    few = np.zeros(plain.items.n + 1, dtype=np.bool_)
    few[[1, 7, 9]] = True  # 1 was seen
    for k, allowed in ((2, few), (3, few), (10, few), (plain.items.n, None), (plain.items.n + 40, None)):
        assert_same(quick.recommend(one, k, allowed), plain.recommend(one, k, allowed))
    assert [what for what, _ in counted.asked if what != "states"] == ["best"] + ["none"] * 4
    counted.asked.clear()
    untrained = (np.flatnonzero(~plain.items.candidates[1:]) + 1)[:2].tolist()
    assert len(untrained) == 2
    for nothing in ([], untrained):
        history = Histories.from_lists([nothing], plain.items.n)
        assert_same(quick.recommend(history, 5), plain.recommend(history, 5))
    assert not counted.asked
    exclude = Histories.from_lists([plain.recommend(one, 2).items[0].tolist()], plain.items.n)
    assert_same(quick.recommend(one, 5, exclude=exclude), plain.recommend(one, 5, exclude=exclude))


def test_ties_have_the_order_of_every_list(exported: Path) -> None:
    """Items of one vector and bias: within a list, and across its end."""
    plain, quick = load_bundle(exported).model, load_bundle(exported).model
    assert isinstance(quick, SequenceModel)
    state = plain.state()
    alike = np.flatnonzero(plain.items.candidates)[4:12]
    for name in ("input.weight", "output_bias"):
        state[name] = state[name].clone()
        state[name][alike] = state[name][alike[0]].clone()
    plain.load_state(state)
    quick.load_state(state)
    answer_by_graph(quick, (exported / ENCODER).read_bytes())
    last = int(alike[0])
    for k in range(1, 30):
        history = Histories.from_lists([[1, 2, last]], plain.items.n)
        assert_same(quick.recommend(history, k, seen="include"), plain.recommend(history, k, seen="include"))


def test_a_graph_that_is_not_there(data: Dataset, exported: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "plain", data, "sasrec", width=8, max_length=10)
    with pytest.raises(ConfigError, match=r"no encoder\.onnx"):
        load_bundle(bundle.path, onnx=True)
    static = make_bundle(tmp_path / "static", data, "markov")
    export(static.path, tmp_path / "odd", encoder=(exported / ENCODER).read_bytes())
    with pytest.raises(FormatError, match="has no encoder"):
        load_bundle(tmp_path / "odd", onnx=True)
    export(bundle.path, tmp_path / "other", encoder=(exported / ENCODER).read_bytes())
    with pytest.raises(FormatError, match="gives other states than the weights"):
        load_bundle(tmp_path / "other", onnx=True)


def test_a_graph_goes_along_with_measurements_and_copies(exported: Path, tmp_path: Path) -> None:
    folder = copied(exported, tmp_path / "model")
    add_metrics(folder, [Measurement(part="test", protocol={}, values={"ndcg@10": 0.1})])
    assert ENCODER in read_manifest(folder).files
    export(folder, tmp_path / "again")
    assert ENCODER in load_bundle(tmp_path / "again").manifest.files


def test_a_changed_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = copied(exported, tmp_path / "model")
    with (folder / ENCODER).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(FormatError, match=r"encoder\.onnx"):
        load_bundle(folder)


def test_a_graph_of_other_weights_is_refused(exported: Path, data: Dataset, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "other", data, "sasrec", width=8, max_length=10, heads=2, blocks=1)
    export(bundle.path, tmp_path / "model", encoder=(exported / ENCODER).read_bytes())
    with pytest.raises(FormatError, match="gives other states than the weights"):
        load_model("it", tmp_path / "model", ServeConfig())


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_what_is_no_graph_is_refused(content: bytes, exported: Path, tmp_path: Path) -> None:
    export(exported, tmp_path / "model", encoder=content)
    with pytest.raises(FormatError, match=r"encoder\.onnx can't be loaded"):
        load_model("it", tmp_path / "model", ServeConfig())


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("lrurec", {"width": 8}, "complex numbers"),
        ("rnn", {"width": 8}, "of one length"),
        ("hstu", {"width": 8}, "times of events"),
        ("bert4rec", {"width": 8}, "at a mask"),
        ("gru", {"width": 8, "loss": "mse"}, "values of events"),
        ("gru", {"width": 8, "input": "onehot", "output": "separate"}, "one-hot"),
        ("markov", {}, "no encoder"),
    ],
)
def test_models_that_cannot_become_a_graph_say_why(
    name: str, settings: dict[str, object], why: str, data: Dataset, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "model", data, name, **settings)
    assert why in str(why_not(bundle.model, False))
    with pytest.raises(ConfigError, match=why):
        export_encoder(bundle.model, False)


def test_groups_cannot_become_a_graph(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", shop(tmp_path / "dataset", ties=True), "gru", width=8)
    assert "groups of events" in str(why_not(bundle.model, bundle.manifest.data.grouped))


def test_without_the_extra(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server computes with torch then, and an export says what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    bundle = load_bundle(exported)
    assert not Scorer(bundle).uses_onnx
    with pytest.raises(MissingExtraError, match=r"onward\[onnx\]"):
        export_encoder(bundle.model, False)
    with pytest.raises(MissingExtraError, match=r"onward\[onnx\]"):
        load_bundle(exported, onnx=True)
    assert main(["export", str(exported), "-o", str(tmp_path / "model"), "--onnx", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "missing_extra"
    assert not (tmp_path / "model").exists()
