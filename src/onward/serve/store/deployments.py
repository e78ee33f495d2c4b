"""Which model serves, switched in two phases, and what each worker has loaded."""

from __future__ import annotations

from onward.errors import ConflictError
from onward.serve.store.database import Reader, Transaction
from onward.serve.store.values import Deployment, Worker


def read_deployment(reader: Reader) -> Deployment:
    """Which model serves."""
    return Deployment(*reader.read("SELECT active, previous, target, generation, reason FROM deployment")[0])


def propose(transaction: Transaction, model: str) -> Deployment:
    """Phase one: name the model that workers are to load."""
    now = read_deployment(transaction)
    if now.target not in (None, model):
        raise ConflictError(
            f"a switch to model '{now.target}' is on its way, so '{model}' can't be proposed",
            "wait until it is done, or withdraw it",
        )
    return _write(transaction, Deployment(now.active, now.previous, model, now.generation))


def flip(transaction: Transaction, expected_generation: int) -> Deployment:
    """Phase two: the target serves, and the generation rises."""
    now = read_deployment(transaction)
    if now.generation != expected_generation:
        raise ConflictError(
            f"the generation is {now.generation}, not {expected_generation}: another switch came first",
            "look at the deployment again",
        )
    if now.target is None:
        raise ConflictError("no model is proposed, so there is nothing to switch to", "propose one first")
    previous = now.previous if now.target == now.active else now.active
    return _write(transaction, Deployment(now.target, previous, None, now.generation + 1))


def withdraw(transaction: Transaction, reason: str) -> Deployment:
    """Give the target up."""
    now = read_deployment(transaction)
    return _write(transaction, Deployment(now.active, now.previous, None, now.generation, reason))


def rollback(transaction: Transaction) -> Deployment:
    """Active and previous change places, and the generation rises; a target is given up."""
    now = read_deployment(transaction)
    if now.previous is None:
        raise ConflictError("there is no previous model to go back to", "activate another model")
    reason = None if now.target is None else "rolled back meanwhile"
    return _write(transaction, Deployment(now.previous, now.active, None, now.generation + 1, reason))


def _write(transaction: Transaction, new: Deployment) -> Deployment:
    transaction.run(
        "UPDATE deployment SET active = ?, previous = ?, target = ?, generation = ?, reason = ?",
        (new.active, new.previous, new.target, new.generation, new.reason),
    )
    return new


def announce(transaction: Transaction, worker: Worker) -> None:
    """Keep what a worker has loaded."""
    transaction.run(
        "INSERT INTO workers(id, pid, generation, target, state, time) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET pid = excluded.pid, generation = excluded.generation, "
        "target = excluded.target, state = excluded.state, time = excluded.time",
        (worker.id, worker.pid, worker.generation, worker.target, worker.state, worker.time),
    )


def leave(transaction: Transaction, worker: str) -> None:
    """A worker isn't waited for any more."""
    transaction.run("DELETE FROM workers WHERE id = ?", (worker,))


def read_workers(reader: Reader, since: int) -> list[Worker]:
    """Workers that announced something at or after a time, ordered by id."""
    found = reader.read("SELECT id, pid, generation, target, state, time FROM workers WHERE time >= ?", (since,))
    return sorted((Worker(*row) for row in found), key=lambda worker: worker.id)
