"""What `--json` prints: every payload is that of its model, and the committed schemas are those of the models.

Run as a script, it writes the schemas again.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from onward.cli.main import GROUPS, SECTIONS, main
from onward.data.synthetic import chain_events
from onward.payload import Payload

SCHEMAS = Path(__file__).parents[2] / "docs/schemas"
PAYLOADS = {
    "audit": "onward.data.audit:Audit",
    "comparison": "onward.evaluate.compare:Comparison",
    "data.describe": "onward.data.describe:Description",
    "data.get": "onward.cli.data_get:Fetched",
    "data.list": "onward.cli.data_list:KnownDatasets",
    "doctor": "onward.train.calibrate:Doctor",
    "drift": "onward.drift.run:Drift",
    "error": "onward.payload:Failure",
    "evaluation": "onward.evaluate.results:Evaluation",
    "export": "onward.cli.export:Exported",
    "keys.create": "onward.cli.keys_create:CreatedKey",
    "keys.list": "onward.cli.keys_list:KeyList",
    "keys.revoke": "onward.cli.keys_revoke:RevokedKey",
    "models": "onward.models.describe:ModelList",
    "prepare": "onward.data.prepare:Prepared",
    "predictions": "onward.cli.predict:Predictions",
    "prequential": "onward.prequential.results:Prequential",
    "recommendation_file": "onward.cli.recommend:RecommendationFile",
    "recommendations": "onward.recommend:Recommendations",
    "replay": "onward.serve.replay.run:Replayed",
    "runs": "onward.train.listing:RunList",
    "runs.diff": "onward.train.contrasts:RunDifferences",
    "search": "onward.search.results:SearchResult",
    "serve": "onward.cli.serve:Serving",
    "store.backup": "onward.cli.store_backup:Backup",
    "store.export": "onward.cli.store_export:ExportedStore",
    "store.forget": "onward.cli.store_forget:ForgottenUser",
    "store.import": "onward.cli.store_import:ImportedEvents",
    "store.stats": "onward.cli.store_stats:StoreCounts",
    "train": "onward.cli.train:TrainedRun",
    "train.seeds": "onward.cli.train:TrainedSeeds",
    "update": "onward.update.results:UpdateResult",
}
"""Name of the schema's file -> the model."""
SILENT = {"demo"}
"""Commands that print for people only."""
ELSEWHERE = {"data get", "keys revoke", "replay", "serve"}
"""Commands with tests of their own: they need a data set in the cache, the id of a key, and somebody to stop them."""


def payload_class(name: str) -> type[Payload]:
    module, _, attribute = PAYLOADS[name].partition(":")
    cls: type[Payload] = getattr(import_module(module), attribute)
    return cls


def schema(name: str) -> dict[str, Any]:
    """The schema of a payload, open to the fields that a later version may add."""
    opened: dict[str, Any] = _open(payload_class(name).model_json_schema(mode="serialization"))
    return opened


def _open(value: Any) -> Any:
    if isinstance(value, list):
        return [_open(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: _open(one) for key, one in value.items() if (key, one) != ("additionalProperties", False)}


def test_the_committed_schemas_are_those_of_the_payloads() -> None:
    committed = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in SCHEMAS.glob("*.json")}
    assert committed == {name: schema(name) for name in PAYLOADS}, "write them again, as CONTRIBUTING.md says"


@pytest.mark.parametrize("name", [name for name in PAYLOADS if name != "error"])
def test_a_payload_says_its_format(name: str) -> None:
    assert payload_class(name).model_fields["format"].default == f"onward.{name}/1"


def printed(arguments: list[str], name: str, code: int, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run one command with --json; its standard output is one line, and all of it is the payload of that name."""
    assert main([*arguments, "--json"]) == code
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 1
    payload: dict[str, Any] = json.loads(lines[0])
    # both ways: a field that the model lacks would be lost here, one that it has in excess would be added
    assert payload_class(name).model_validate(payload).as_dict() == payload
    return payload


@pytest.mark.usefixtures("quick_doctor")
def test_standard_output_is_the_payload_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chain_events(users=30, items=8, length=8, noise=0.2).write_csv("events.csv")
    gru = "--model gru --protocol last --set train.epochs=1 --set model.width=8"
    gru += " --set model.interest=bce --set model.interest_of=events"
    lines = {
        "prepare events.csv -o dataset": "prepare",
        "data list": "data.list",
        "data describe dataset": "data.describe",
        "data audit dataset --protocol last": "audit",
        "data audit dataset": "audit",
        "models": "models",
        "models sasrec": "models",
        "doctor": "doctor",
        "train dataset --model popularity --protocol last -o popularity": "train",
        f"train dataset {gru} -o gru": "train",
        "train dataset --model random --protocol last --seeds 2 -o random": "train.seeds",
        "auto dataset --models popularity --budget 10m -o auto": "search",
        "tune dataset -m personal-frequency --budget 10m -o tune": "search",
        "evaluate gru": "evaluation",
        "train dataset --model markov -o by-time": "train",
        "prequential by-time --every 8 -o walk": "prequential",
        "drift walk": "drift",
        "compare popularity gru": "comparison",
        "compare random gru": "comparison",
        "compare popularity gru -o report.html": "comparison",
        "runs": "runs",
        "runs diff popularity gru": "runs.diff",
        "recommend gru --history 1,2,nothing": "recommendations",
        "recommend gru --user 3": "recommendations",
        "recommend gru --all -o lists.parquet": "recommendation_file",
        "predict gru --user 3 --items 1,2": "predictions",
        "export gru -o model": "export",
        "train dataset --model popularity -o current": "train",
        "update current dataset -o next --set margin=0.99": "update",
        "keys create shop --role write": "keys.create",
        "keys list": "keys.list",
        "store stats": "store.stats",
        "store backup -o copy.db": "store.backup",
        "store export -o exported": "store.export",
        "store forget ann": "store.forget",
        "store import dataset": "store.import",
    }
    for line, name in lines.items():
        printed(line.split(), name, 0, capfd)
    assert set(lines.values()) == set(PAYLOADS) - {name.replace(" ", ".") for name in ELSEWHERE} - {"error"}
    grouped = {f"{group} {name}" for group, names in GROUPS.items() for name in names}
    ran = {" ".join(line.split()[: 2 if line.split()[0] in GROUPS else 1]) for line in lines}
    alone = {name for commands in SECTIONS.values() for name in commands} - set(GROUPS)
    assert ran == (alone | grouped) - SILENT - ELSEWHERE


def test_data_get(ml100k: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    payload = printed(["data", "get", "ml-100k", "-o", str(tmp_path / "here")], "data.get", 0, capfd)
    assert payload["files"] == ["ml-100k.inter", "ml-100k.item", "ml-100k.user"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["models", "sasrce"], "config"),
        (["data", "describe", "nowhere"], "format"),
        (["recommend"], "usage"),
        (["no-such-command"], "usage"),
    ],
)
def test_an_error(arguments: list[str], code: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(arguments, "error", 2, capfd)["error"]["code"] == code


def write_schemas() -> None:
    """Write every schema to docs/schemas."""
    for name in PAYLOADS:
        (SCHEMAS / f"{name}.json").write_text(json.dumps(schema(name), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
