"""Switching models under load: no request fails, every list names its model, what is broken is refused."""

from __future__ import annotations

import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_helpers import Server, until

from onward.serve.store.protocol import open_store

KNOWN = {"first", "second"}


@pytest.fixture(scope="module")
def two(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers."""
    folder = tmp_path_factory.mktemp("two")
    shelf = shutil.copytree(models, folder / "shelf")
    with Server(folder, models / "first", "--models", str(shelf), "--workers", "2") as running:
        yield running


class Load:
    """Clients that ask all the time; `answers` holds (status, model, generation) of each."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        self.answers: list[tuple[int, str, int]] = []
        self._stop = threading.Event()
        self._server = server
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.answers) > len(self._threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with self._server.client() as http:
            while not self._stop.is_set():
                answer = http.post("/v1/recommendations", json={"history": ["4"], "k": 3})
                body = answer.json() if answer.status_code == 200 else {"model": "", "generation": -1}
                self.answers.append((answer.status_code, body["model"], body["generation"]))


def test_a_switch_under_load_fails_no_request(two: Server) -> None:
    with two.client() as http, Load(two) as load:
        generation = http.get("/v1/models").json()["deployment"]["generation"]
        for turn in range(4):
            name = ("second", "first")[turn % 2]
            answer = http.post(f"/v1/models/{name}/activate", json={}, timeout=60)
            assert answer.status_code == 200, answer.text
            assert (answer.json()["active"], answer.json()["generation"]) == (name, generation + turn + 1)
            for _ in range(4):  # from the flip on, on every worker
                assert http.post("/v1/recommendations", json={"history": ["4"]}).json()["model"] == name
    assert len(load.answers) > 20
    assert {status for status, _, _ in load.answers} == {200}
    pairs = {(model, (made - generation) % 2) for _, model, made in load.answers}
    assert pairs <= {("first", 0), ("second", 1)}


def test_rollback_is_one_call(two: Server) -> None:
    with two.client() as http:
        http.post("/v1/models/second/activate", json={}, timeout=60)
        http.post("/v1/models/first/activate", json={}, timeout=60)
        back = http.post("/v1/models/rollback", json={}, timeout=60).json()
        assert (back["active"], back["previous"]) == ("second", "first")
        http.post("/v1/models/rollback", json={}, timeout=60)


def test_a_broken_bundle_is_refused_and_the_old_model_goes_on(two: Server, models: Path) -> None:
    shelf = Path(two.store).parent / "shelf"
    broken = shutil.copytree(shelf / "second", shelf / "broken")
    with (broken / "weights.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\xff")
    with two.client() as http, Load(two, 1) as load:
        before = http.get("/v1/models").json()["deployment"]
        answer = http.post("/v1/models/broken/activate", json={}, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (422, "refused")
        assert "weights.safetensors" in answer.json()["detail"]
        assert str(shelf) not in answer.text
        after = http.get("/v1/models").json()["deployment"]
    assert (after["active"], after["generation"], after["target"]) == (before["active"], before["generation"], None)
    assert {status for status, _, _ in load.answers} == {200}


def archive(folder: Path, inside: str = "") -> bytes:
    """A tar archive of a folder's files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for file in folder.iterdir():
            tar.add(file, f"{inside}{file.name}")
    return made.getvalue()


def test_an_uploaded_model_serves(two: Server, models: Path) -> None:
    kind = {"content-type": "application/gzip"}
    with two.client() as http:
        sent = http.post("/v1/models", content=archive(models / "second"), headers=kind, timeout=60)
        assert sent.status_code == 200, sent.text
        name = sent.json()["name"]
        assert name in http.get("/v1/models").json()["models"]
        assert http.post(f"/v1/models/{name}/activate", json={}, timeout=60).json()["active"] == name
        assert http.post("/v1/recommendations", json={"history": ["4"]}).json()["model"] == name
        http.post("/v1/models/rollback", json={}, timeout=60)


def test_an_archive_that_climbs_out_is_refused(two: Server, models: Path) -> None:
    kind = {"content-type": "application/gzip"}
    with two.client() as http:
        for sent in (archive(models / "second", "../../"), b"nothing of the kind", archive(models)[:500]):
            answer = http.post("/v1/models", content=sent, headers=kind, timeout=60)
            assert (answer.status_code, answer.json()["code"]) == (422, "refused"), answer.text


def test_a_worker_without_the_model_says_503_and_never_an_old_list(two: Server) -> None:
    store = open_store(two.store)
    with two.client() as http:
        before = store.deployment()
        store.propose("ghost")
        now = store.flip(before.generation)  # as if it had been loaded elsewhere
        for _ in range(6):
            answer = http.post("/v1/recommendations", json={"history": ["4"]})
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert answer.headers["retry-after"] == "1"
        assert http.get("/readyz").status_code == 503
        assert http.get("/healthz").status_code == 200
        assert http.post("/v1/events", json={"user": "g", "item": "1"}).status_code == 200
        store.rollback()
        assert http.post("/v1/recommendations", json={"history": ["4"]}).json()["generation"] == now.generation + 1
    store.close()


def test_metrics_add_up_the_workers(two: Server) -> None:
    def lists() -> float:
        with two.client() as http:
            told = http.get("/metrics").text
        return sum(float(line.split()[-1]) for line in told.splitlines() if line.startswith("onward_lists_total"))

    before, workers = lists(), set()
    for _ in range(200):
        with two.client() as http:
            answer = http.post("/v1/recommendations", json={"requests": [{"history": ["4"]}] * 3})
            workers.add(answer.headers["x-onward-worker"])
        if len(workers) == 2:
            break
    made = lists() - before
    assert workers == {"0", "1"}
    assert made % 3 == 0
    assert made == lists() - before
