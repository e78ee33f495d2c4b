"""Every model of the registry keeps the contract."""

from onward.testing.model_contract import *  # noqa: F403
