"""The measurements, one function a section. Each starts servers of its own and returns plain numbers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.material import FOLDER, Material, synthetic
from serving.servers import HERE, Watched, bare, events, fixed_rate, lists, onward, wrk

RULES = '[rules]\ndeny = {deny}\nwhere = "item is not missing"\n'
"""Rules of every list: three items never, and an expression."""
EVENTS_A_SECOND, LISTS_BESIDE = 3_000, 500
TRICKLING, ADDRESSES = 3_000, 8
SLOW = "[retrieval]\nexact_items = 100_000_000\n"
FORGETFUL = "[models]\nremembered_mib = 0\n"
"""Every state is computed anew, in each worker."""
SOON_FULL = "[models]\nremembered_mib = 8\n"
"""Of minutes under load: by default what is remembered fills for a quarter of an hour, and would hide what leaks."""
SHORT = 5.0
"""Seconds of load before a server is measured."""


@dataclass
class Plan:
    """What to measure with."""

    material: Material | None
    given: argparse.Namespace
    servers: int = 0

    @property
    def main(self) -> Material:
        """The model that the bars are for."""
        assert self.material is not None
        return self.material

    def serve(self, material: Material, settings: str = "", rules: bool = True, keys: bool = True) -> Watched:
        """A server over a fresh copy of the material's store."""
        folder = FOLDER / "servers" / str(self.servers)
        self.servers += 1
        text = settings + (RULES.format(deny=material.items[:3]) if rules else "")
        store = material.fresh_store(folder)
        return onward(folder, material.bundle, store, text, keys, self.given.workers)


def _facts(material: Material) -> dict:
    return {"model": material.name, "catalog": len(material.items), "stored_events": material.events}


def _warm(server: Watched, material: Material) -> None:
    fixed_rate(server, [lists(material.users, 400)], SHORT)


def measure_bare(plan: Plan) -> dict:
    """FastAPI alone."""
    with bare() as server:
        return {"wrk": wrk(server, "/", FOLDER, plan.given.connections, plan.given.seconds, None)}


def measure_lists(plan: Plan) -> dict:
    """Lists as fast as they come, by several numbers of connections, and bare FastAPI before and after."""
    material, seconds = plan.main, plan.given.seconds
    found = {**_facts(material), "bare": [], "wrk": []}
    users = material.users_file()
    with bare() as limit, plan.serve(material) as server:
        _warm(server, material)
        found["onnx"] = server.logged("model tried").get("onnx", "false") != "false"  # logfmt: a bare word is true
        found["bare"].append(wrk(limit, "/", FOLDER, plan.given.connections, seconds / 2, None))
        for connections in (1, plan.given.connections, 2 * plan.given.connections):
            found["wrk"].append(wrk(server, "/v1/recommendations", FOLDER, connections, seconds, users))
        found["bare"].append(wrk(limit, "/", FOLDER, plan.given.connections, seconds / 2, None))
        found["fixed"] = fixed_rate(server, [lists(material.users, 2_500)], seconds)
        found["memory_mib"] = server.memory_mib()
    with plan.serve(material, rules=False, keys=False) as server:
        _warm(server, material)
        found["without"] = wrk(server, "/v1/recommendations", FOLDER, plan.given.connections, seconds, users)
    with plan.serve(material, FORGETFUL) as server:
        _warm(server, material)
        found["anew"] = wrk(server, "/v1/recommendations", FOLDER, plan.given.connections, seconds, users)
    return found


def measure_mixed(plan: Plan) -> dict:
    """Durable events beside lists: one event a request, and ten."""
    material, found = plan.main, {}
    for batch in (1, 10):
        with plan.serve(material) as server:
            _warm(server, material)
            writing = events(material.users, material.items, EVENTS_A_SECOND / batch, batch, f"bench-{batch}")
            found[f"by_{batch}"] = fixed_rate(
                server, [writing, lists(material.users, LISTS_BESIDE)], plan.given.seconds, 128
            )
    return {**_facts(material), **found}


def measure_catalog(plan: Plan) -> dict:
    """A hundred thousand items."""
    material = synthetic(100_000, 1_000_000, plan.given.users)
    with plan.serve(material) as server:
        _warm(server, material)
        fixed = fixed_rate(server, [lists(material.users, 500)], plan.given.seconds)
        most = wrk(
            server, "/v1/recommendations", FOLDER, plan.given.connections, plan.given.seconds, material.users_file()
        )
        return {**_facts(material), "fixed": fixed, "wrk": most, "memory_mib": server.memory_mib()}


def measure_million(plan: Plan) -> dict:
    """A million items, by the index and exactly."""
    material = synthetic(1_000_000, plan.given.million_events, plan.given.users)
    found = {}
    for name, settings in (("faiss", ""), ("exact", SLOW)):
        with plan.serve(material, settings) as server:
            _warm(server, material)
            users = material.users_file()
            found[name] = {
                "one": wrk(server, "/v1/recommendations", FOLDER, 1, plan.given.seconds, users),
                "wrk": wrk(server, "/v1/recommendations", FOLDER, plan.given.connections, plan.given.seconds, users),
                "memory_mib": server.memory_mib(),
                "ready_seconds": server.ready_seconds,
                "index": server.logged("index built"),
            }
    return {**_facts(material), **found}


def measure_trickle(plan: Plan) -> dict:
    """A well-behaved client while thousands of connections never complete a request."""
    material = plan.main
    with plan.serve(material) as server:
        _warm(server, material)
        alone = fixed_rate(server, [lists(material.users, 200)], plan.given.seconds, 16)
        words = [sys.executable, str(HERE / "trickle.py"), str(server.port), str(TRICKLING), str(ADDRESSES)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as slow:
            assert slow.stdout is not None
            opened = int(slow.stdout.readline())
            beside = fixed_rate(server, [lists(material.users, 200)], plan.given.seconds, 16)
            still, in_all, refused = slow.communicate("")[0].split()
        return {
            **_facts(material),
            "alone": alone,
            "beside": beside,
            "connections": {"first": opened, "last": int(still), "opened": int(in_all), "refused": int(refused)},
            "addresses": ADDRESSES,
        }


def measure_start(plan: Plan) -> dict:
    """Seconds until ready, and memory after some load."""
    material, seconds, processor, memory = plan.main, [], [], []
    for _ in range(3):
        with plan.serve(material) as server:
            seconds.append(server.ready_seconds)
            processor.append(server.cpu_seconds())
            fixed_rate(server, [lists(material.users, 200)], SHORT)
            memory.append(server.memory_mib())
    return {**_facts(material), "seconds": seconds, "processor": processor, "memory_mib": memory}


def measure_soak(plan: Plan) -> dict:
    """Minutes of lists and events: errors, p99 and memory of each minute."""
    material, memory = plan.main, []
    with plan.serve(material, SOON_FULL) as server:
        _warm(server, material)
        minutes = []
        for minute in range(round(plan.given.soak)):
            memory.append(server.memory_mib())
            writing = events(material.users, material.items, plan.given.soak_rate / 5, 1, f"soak-{minute}")
            streams = [lists(material.users, plan.given.soak_rate), writing]
            minutes.append(fixed_rate(server, streams, 60)["streams"])
            print(f"  minute {minute + 1}: p99 {minutes[-1]['lists']['p99']:.1f} ms, {memory[-1]:.0f} MiB", flush=True)
        memory.append(server.memory_mib())
    return {**_facts(material), "rate": plan.given.soak_rate, "minutes": minutes, "memory_mib": memory}


_MEASURE: dict[str, Callable[[Plan], dict]] = {
    "bare": measure_bare,
    "lists": measure_lists,
    "mixed": measure_mixed,
    "catalog": measure_catalog,
    "million": measure_million,
    "trickle": measure_trickle,
    "start": measure_start,
    "soak": measure_soak,
}
SECTIONS = tuple(name for name in _MEASURE if name != "soak")


def measure(name: str, plan: Plan) -> dict:
    """One section, with when and on what it was measured."""
    started = time.time()
    found = _MEASURE[name](plan)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(started))
    return {**found, "workers": plan.given.workers, "measured": when, "machine": machine()}


def machine() -> dict:
    """What this machine is, and how busy it was."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    load = Path("/proc/loadavg").read_text().split()[1]
    cores = os.cpu_count()
    return {"cpu": cpu, "cores": cores, "load": float(load)}
