"""`onward serve MODEL`: a model serves once it was loaded and checked, and a bad one changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import safetensors.torch
import torch
from server_helpers import Server, run

from onward.data.dataset import sha256
from onward.errors import FormatError
from onward.serve.api.keys import create_key
from onward.serve.process.launch import choose, give_up, take_over
from onward.serve.store.discard import discarded_on_failure
from onward.serve.store.protocol import Deployment, Event, EventStore, open_store
from onward.serve.store.sql import open_database


def deployment(store: Path) -> Deployment:
    """What a store says serves."""
    with closing(open_store(store)) as opened:
        return opened.deployment()


@pytest.fixture
def nan(models: Path, tmp_path: Path) -> Path:
    """A bundle whose hashes are right and whose scores are not finite."""
    bundle = shutil.copytree(models / "first", tmp_path / "nan")
    weights = bundle / "weights.safetensors"
    state = safetensors.torch.load_file(weights)
    broken = {name: torch.full_like(one, torch.nan) if one.is_floating_point() else one for name, one in state.items()}
    safetensors.torch.save_file(broken, weights)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["weights.safetensors"] = sha256(weights)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bad_model_is_refused_and_the_store_stays_as_it_was(nan: Path, tmp_path: Path, workers: str) -> None:
    with closing(open_store(tmp_path / "events.db")) as store:
        take_over(store, choose(store, "first").model)
    refused = run(
        "serve", str(nan), "--store", str(tmp_path / "events.db"), "--port", "0", "--workers", workers, "--json"
    )
    assert refused.returncode == 2
    problem = json.loads(refused.stdout)["error"]
    assert (problem["code"], problem["hint"]) == ("format", "train it again")
    assert "model 'nan' gives scores that are not finite" in problem["message"]
    assert "Traceback" not in refused.stderr
    after = deployment(tmp_path / "events.db")
    assert (after.active, after.previous, after.target, after.generation) == ("first", None, None, 1)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_fails_leaves_no_store_behind(nan: Path, tmp_path: Path, workers: str) -> None:
    (tmp_path / "shop").mkdir()
    store = tmp_path / "shop" / "new" / "events.db"
    refused = run("serve", str(nan), "--store", str(store), "--port", "0", "--workers", workers, "--json")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert list((tmp_path / "shop").iterdir()) == []

    (tmp_path / "shop" / "notes.txt").touch()
    refused = run("serve", "--store", str(tmp_path / "shop" / "events.db"), "--port", "0", "--json")
    assert "which model? the store names none" in json.loads(refused.stdout)["error"]["message"]
    assert [file.name for file in (tmp_path / "shop").iterdir()] == ["notes.txt"]


def test_a_start_that_fails_leaves_no_tables_in_postgresql(nan: Path, postgres_url: str) -> None:
    def serve(workers: str = "1") -> None:
        refused = run("serve", str(nan), "--store", postgres_url, "--port", "0", "--workers", workers, "--json")
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr

    def schema() -> tuple[bool, int]:
        """Whether it is there, and its tables."""
        with closing(open_database(postgres_url, create=False)) as database:
            there = database.read("SELECT 1 FROM pg_namespace WHERE nspname = 'onward'")
            return bool(there), len(database.read("{tables}"))

    serve("2")
    assert schema() == (False, 0)
    with closing(open_database(postgres_url, create=True)):
        pass
    serve()
    assert schema() == (True, 0), "a schema that was there before stays"
    with closing(open_store(postgres_url)) as store:
        store.append([Event("e", "ann", "i")])
    serve()
    assert schema()[1] > 10


def test_tables_in_postgresql_that_somebody_uses_stay(postgres_url: str) -> None:
    def fail(meanwhile: Callable[[], object]) -> None:
        def start() -> None:
            open_store(postgres_url).close()
            meanwhile()
            raise FormatError("the model is bad")

        with pytest.raises(FormatError), discarded_on_failure(postgres_url):
            start()

    def key() -> None:
        with closing(open_store(postgres_url)) as store:
            create_key(store, "shop", "read")

    used: list[EventStore] = []
    fail(lambda: used.append(open_store(postgres_url)))
    assert used[0].append([Event("e", "ann", "i")])[0].status == "stored"
    used[0].forget("ann")
    used[0].close()
    fail(key)
    with closing(open_store(postgres_url, create=False)) as store:
        assert [record.name for record in store.key_records()] == ["shop"]


def test_a_store_that_somebody_uses_stays(tmp_path: Path) -> None:
    """What another command put into the new file meanwhile, and a file that was there before."""

    def fail(store: Path, meanwhile: Callable[[], object]) -> None:
        def start() -> None:
            open_store(store).close()
            meanwhile()
            raise FormatError("the model is bad")

        with pytest.raises(FormatError), discarded_on_failure(str(store)):
            start()

    fail(tmp_path / "a.db", lambda: None)
    assert list(tmp_path.iterdir()) == []

    def touch() -> None:
        (tmp_path / "empty.db").touch()  # the disk was full before there was a table
        raise FormatError("the disk is full")

    with pytest.raises(FormatError), discarded_on_failure(str(tmp_path / "empty.db")):
        touch()
    assert list(tmp_path.iterdir()) == []

    def put(store: Path) -> None:
        with closing(open_store(store)) as opened:
            opened.append([Event("e", "ann", "i")])

    fail(tmp_path / "b.db", lambda: put(tmp_path / "b.db"))
    assert [file.name for file in tmp_path.iterdir()] == ["b.db"]
    used: list[EventStore] = []
    fail(tmp_path / "c.db", lambda: used.append(open_store(tmp_path / "c.db")))
    assert used[0].append([Event("e", "ann", "i")])[0].status == "stored"
    used[0].close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.db", "c.db"]
    open_store(tmp_path / "d.db").close()
    fail(tmp_path / "d.db", lambda: None)
    assert (tmp_path / "d.db").is_file()


def test_a_good_model_takes_over_and_the_one_before_is_kept(models: Path, tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "events.db")) as store:
        take_over(store, choose(store, "first").model)
        store.propose("ghost")  # a server was killed while it loaded
    with Server(tmp_path, models / "second", "--models", str(models), "--workers", "2") as server:
        assert server.started["model"] == "second"
        assert any("'first' before" in note for note in server.started["notes"])
        with server.client() as http:
            asked = [http.post("/v1/recommendations", json={"history": ["4"]}) for _ in range(8)]
            assert {answer.json()["model"] for answer in asked} == {"second"}
            assert http.post("/v1/models/rollback", json={}).json()["active"] == "first"
    assert deployment(server.store).generation == 3
    assert "model refused" not in server.log.read_text()


def test_two_servers_that_start_with_one_model_at_once(models: Path, tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "events.db")) as store:
        choices = [choose(store, "first"), choose(store, "first")]
        assert [choice.proposed for choice in choices] == [True, True]
        for _ in choices:
            take_over(store, "first")
        assert store.deployment() == Deployment("first", None, None, 1)
        assert not choose(store, "first").proposed
        assert choose(store, "second").note == "the store said 'first' before; it is kept for a rollback"
        give_up(store, "first")
        assert store.deployment().target == "second"
        give_up(store, "second")
        assert store.deployment().target is None
