"""The benchmark against peers: scoring, counting, pacing, records and report; Onward's own driver from end to end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import settings
from bars import bars
from drivers import protocol
from drivers.events import Log
from flops import flops_per_event
from records import Records
from report import write_report
from score import score_lists
from worker import Worker

LOG = Log(np.array([1, 2, 7]), np.array([0, 3, 5, 9]), np.array([10, 11, 12, 10, 13, 11, 12, 13, 14]))


def lists(path: Path, users: list[int], items: list[list[int]]) -> Path:
    np.savez(path, users=np.array(users), items=np.array(items))
    return path


def test_a_log_knows_each_history_and_what_is_left() -> None:
    assert LOG.rows().tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert LOG.left().tolist() == [2, 1, 0, 1, 0, 3, 2, 1, 0]
    assert LOG.history(7).tolist() == [11, 12, 13]


def test_lists_are_scored_by_the_place_of_each_users_last_item(tmp_path: Path) -> None:
    # user 7 has its 14 first, user 1 its 12 third, user 2 no list at all
    path = lists(tmp_path / "a.npz", [7, 1], [[14, 10, 15], [13, 14, 12]])
    found = score_lists(path, LOG, k=3)
    assert found["ndcg@3"] == pytest.approx((1 + 1 / math.log2(4)) / 3)
    assert found["hr@3"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("items", "message"), [([14, 14], "twice"), ([14, 12], "history")])
def test_lists_that_break_the_rules_are_refused(tmp_path: Path, items: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_lists(lists(tmp_path / "a.npz", [7], [items]), LOG, k=2)


def test_flops_are_those_of_the_formula() -> None:
    lengths, width, items, blocks = np.array([3, 5]), 8, 11, 2
    pairs = 3 * 4 / 2 + 5 * 6 / 2
    forward = 8 * (blocks * 12 * width**2 + 2 * width * items) + pairs * blocks * 4 * width
    own = ["model.name=sasrec", f"model.width={width}", f"model.blocks={blocks}", "model.heads=1"]
    assert flops_per_event([*own, "model.feed_forward=1"], lengths, items) == pytest.approx(3 * forward / 8)


class FakeServer:
    """Answers with the commands it was given; a pause takes a hundred seconds."""

    def __init__(self, clock: list[float], commands: list[dict[str, Any]]) -> None:
        self.clock, self.commands, self.replies = clock, commands, []

    def reply(self, answer: dict[str, Any]) -> None:
        self.replies.append(answer)

    def serve(self) -> dict[str, Any]:
        self.clock[0] += 100
        return self.commands.pop(0)


def test_the_pacer_counts_batches_after_the_first_ones_and_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: clock[0])
    server = FakeServer(clock, [{"do": "train", "until": 7.0}, {"do": "train", "seconds": 9}])
    pacer = protocol.Pacer(server, before=2.0)  # type: ignore[arg-type]
    pacer._start({"do": "train", "seconds": 1.0})
    pacer.batch(0)
    while len(server.replies) < 2:
        clock[0] += 0.25
        pacer.batch(10)
    first, second = server.replies
    assert first["events_per_second"] == pytest.approx(40)
    assert first["seconds"] == pytest.approx(1.0)
    assert first["events"] == 10 * (protocol.WARM_BATCHES + 1 + 4)
    assert second["clock"] == pytest.approx(7.0)
    assert second["events"] == 10 * 5 / 0.25


def test_a_stage_that_runs_again_replaces_its_records(tmp_path: Path) -> None:
    records = Records(tmp_path / "a.jsonl")
    for value in (1.0, 3.0):
        records.start("one")
        records.start("two")
        records.add(stage="one", value=value)
        records.add(stage="one", value=value + 2)
    again = Records(tmp_path / "a.jsonl")
    assert again.values("value", stage="one") == [3.0, 5.0]
    assert again.middle("value", stage="one") == 4.0
    assert again.middle("value", stage="two") is None


def test_one_file_of_records_is_about_one_data_set(tmp_path: Path) -> None:
    records = Records(tmp_path / "a.jsonl")
    records.start("length 200", data="ml-100k")
    records.keep_only("ml-100k")
    assert len(records.lines) == 1
    records.keep_only("ml-1m_sas")
    assert records.lines == []


def measured(path: Path, data: str) -> Records:
    """What a run of two libraries at length 200 leaves behind: Onward ten times as fast as RePlay."""
    records = Records(path)
    machine = {"processor": "P", "cores": 2, "memory": 2**30, "bf16": ["AVX512_BF16"], "system": "S", "python": "3"}
    records.start("run", machine={**machine, "torch": "2"}, versions={"replay": {"replay-rec": "0.22.0"}})
    facts = {"begun": "now", "data": data, "users": 3, "items": 5, "all_events": 9, "flops_per_event": 1e6}
    records.start("length 200", plan={"seconds": 1.0, "rounds": 1, "threads": 2}, **facts)
    records.add(stage="length 200", do="peak", flops=1e11)
    for name, speed in (("Onward", 50_000.0), ("RePlay", 5_000.0)):
        where = {"stage": "length 200", "library": name, "peak_mib": 100.0}
        records.add(**where, do="prepare", prepare_seconds=0.5)
        records.add(**where, do="train", events_per_second=speed, first_batch_seconds=0.2, others=0.1)
        records.add(**where, do="evaluate", users_per_second=3_000.0)
        records.add(**where, do="latency", p50_ms=0.3, p99_ms=0.5)
    return records


def test_bars_are_judged_within_one_run_and_only_on_their_file(tmp_path: Path) -> None:
    judged = {bar.what: bar.met for bar in bars(measured(tmp_path / "a.jsonl", "ml-1m_sas"))}
    assert judged["training at length 200, times RePlay"]
    assert "training at length 200, times RecTools" not in judged
    assert not judged["evaluation at length 200, users/s"]
    assert not judged["FLOPs of training at length 200, of the fp32 peak"]  # 50,000 x 1e6 of 1e11 is a half
    assert judged["one user, median ms at most"]
    assert list(bars(measured(tmp_path / "b.jsonl", "ml-100k"))) == []


def test_the_report_shows_what_was_measured(tmp_path: Path) -> None:
    write_report(measured(tmp_path / "a.jsonl", "ml-1m_sas"), tmp_path / "RESULTS_OLD.md")
    text = (tmp_path / "RESULTS_OLD.md").read_text(encoding="utf-8")
    assert "](results_old.png)" in text
    assert "| RePlay | 5,000 (5,000 to 5,000) | 10.0 | 5% | 0.5 + 0.2 | 100 |" in text
    assert "kept 0.10 of a core busy" in text
    assert "RecBole |" not in text
    assert "NOT MET" in text


def test_onwards_driver_trains_answers_and_agrees_with_the_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(40), 12), np.concatenate([rng.permutation(60)[:12] for _ in range(40)])
    file = tmp_path / "log.txt"
    np.savetxt(file, np.stack([users, items], 1), fmt="%d")
    config = {**settings.throughput_config(settings.ONWARD, 10, 64), "data": str(file)}
    worker = Worker(settings.ONWARD, config, tmp_path / "work", threads=1)
    try:
        assert worker.ask("prepare")["events"] == 40 * 10
        trained = worker.ask("train", seconds=0.2)
        own = worker.ask("evaluate")["own"]
        worker.ask("recommend", k=10, path=str(tmp_path / "lists.npz"))
        assert worker.ask("latency", requests=5, k=10)["p50_ms"] > 0
    finally:
        worker.close()
    assert trained["events_per_second"] > 0
    found = score_lists(tmp_path / "lists.npz", Log.read(str(file)))
    assert found == pytest.approx(own)
