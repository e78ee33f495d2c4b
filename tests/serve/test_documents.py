"""What docs/serving.md says of settings and of ONNX is true, and complete."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from onward.serve.lists.expressions import parse
from onward.serve.lists.requests import Rules
from onward.serve.settings import ServeConfig

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("\n## serve.toml\n")[2]


def rows() -> dict[str, str]:
    """Section -> its rows of the table of settings."""
    found: dict[str, str] = {}
    section = ""
    for line in TABLE.splitlines():
        if line.startswith("|"):
            section = line.split("|")[1].strip(" `") or section
            found[section] = found.get(section, "") + line
    return found


@pytest.mark.parametrize("section", list(ServeConfig.model_fields))
def test_every_setting_is_documented(section: str) -> None:
    config = ServeConfig.model_fields[section].annotation
    assert isinstance(config, type)
    assert issubclass(config, BaseModel)
    missing = [name for name in config.model_fields if f"`{name}`" not in rows()[section]]
    assert not missing, f"docs/serving.md says nothing of [{section}] {', '.join(missing)}"


def test_what_is_promised_without_settings_is_the_default() -> None:
    config = ServeConfig()
    assert config.connections.request_seconds == 10
    assert config.impressions.click_hours == 24
    assert (config.impressions.sample, config.limits.events) == (1, 1_000)


def test_the_rules_that_are_shown_are_rules() -> None:
    shown = tomllib.loads(TEXT.partition("```toml\n")[2].partition("```")[0])
    assert set(Rules.parse(shown["rules"]).model_fields_set) == set(Rules.model_fields) - {"allow"}


def test_the_expression_that_is_shown_can_be_read() -> None:
    parse(TEXT.partition("### Expressions\n\n```\n")[2].partition("\n```")[0])
