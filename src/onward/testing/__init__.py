"""The contract that every model keeps, as tests for pytest; for models of your own too.

::

    # test_contract.py
    from onward.models.registry import MODELS

    MODELS["my-model"] = "my_module:MyModel"

    from onward.testing.model_contract import *

and `pytest test_contract.py -k my-model`. Without -k, or where the file's own name has that word in it, every model of
the registry is tested.
"""

import pytest

pytest.register_assert_rewrite("onward.testing.model_contract")
