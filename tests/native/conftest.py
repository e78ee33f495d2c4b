"""What tests of compiled code share."""

from __future__ import annotations

import os

import pytest

from onward.native.library import is_built


@pytest.fixture
def compiled() -> None:
    """Skips where nothing is compiled, unless ONWARD_REQUIRE_COMPILER=1, as in CI."""
    if not is_built():
        reason = "nothing was compiled when Onward was installed (python -m onward.native.build says why)"
        pytest.fail(reason) if os.environ.get("ONWARD_REQUIRE_COMPILER") == "1" else pytest.skip(reason)
