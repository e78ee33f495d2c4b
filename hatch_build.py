"""Compiles `onward.native` while Onward is installed. Where that fails, Onward works without, and slower."""

from __future__ import annotations

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = "src/onward/native/build.py"


class CustomBuildHook(BuildHookInterface[Any]):
    """Called by hatchling for wheels, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile beside the source; a wheel takes the libraries along, and is then for this platform alone."""
        script = runpy.run_path(str(Path(self.root) / BUILD))
        self.app.display_info(script["build"]())
        if version == "standard" and list(Path(self.root, BUILD).parent.glob("*.so")):
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data.update(pure_python=False, tag=f"py3-none-{platform}")
            build_data["artifacts"].append("src/onward/native/*.so")
