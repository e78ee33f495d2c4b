"""The notebooks of docs/notebooks: executed in a fresh kernel, and kept without outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra notebooks)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra notebooks)")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra notebooks)")

FOLDER = Path(__file__).parents[1] / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 900
"""That a cell may take."""


def executed(name: str, folder: Path) -> str:
    """Run a notebook in a folder; what its cells print and show, one after the other. Raises what a cell raised."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return "\n".join(_shown(output) for cell in notebook.cells for output in cell.get("outputs", []))


def _shown(output: Any) -> str:
    assert output.get("name") != "stderr", output["text"]  # warnings and tracebacks
    if output["output_type"] == "stream":
        return str(output["text"])
    assert "image/png" in output["data"] or "text/html" in output["data"]
    return str(output["data"].get("text/plain", ""))


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["comparing_models", "your_own_csv", "your_own_model"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_valid_clean_and_its_links_lead_somewhere(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / link).exists(), link


def test_your_own_csv(tmp_path: Path) -> None:
    said = executed("your_own_csv.ipynb", tmp_path)
    assert "can't be used" in said
    before, after = (re.search(rf"^{when}: +(.*)$", said, re.MULTILINE) for when in ("before", "after"))
    assert before is not None
    assert after is not None
    shelf = {"lock", "light", "pump", "tube", "gloves", "bell", "jersey"}
    assert len(shelf & set(after[1].split())) > len(shelf & set(before[1].split()))


@pytest.mark.full
def test_comparing_models(ml100k: Path, tmp_path: Path) -> None:
    said = executed("comparing_models.ipynb", tmp_path)
    assert "seed 2:" in said
    assert re.search(r"gru +0\.\d+ .*p 0\.\d+ \(Holm\); found from \d+% on", said)
    assert "p 0.004 -> 0.016 still a finding" in said


def test_your_own_model(ml100k: Path, tmp_path: Path) -> None:
    said = executed("your_own_model.ipynb", tmp_path)
    assert len((tmp_path / "rules.py").read_text().splitlines()) <= 60
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) >= 20
    assert re.search(r"^rules +0\.\d+", said, re.MULTILINE)
