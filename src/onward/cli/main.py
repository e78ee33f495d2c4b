"""`onward`: the table of commands, and what happens to errors.

Commands are import paths, loaded only when called, so that `onward --help` loads no numerical library.
"""

from __future__ import annotations

import json
import os
import sys

from cyclopts import App, CycloptsError, Group

from onward.cli.common import print_error
from onward.errors import OnwardError

app = App(
    name="onward",
    help="From an event log to a live recommender: prepare, train, evaluate honestly, recommend.\n\n"
    "onward COMMAND --help says what a command does, with an example.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
SECTIONS = {
    "From a log to lists": {
        "demo": "The whole path on MovieLens-100K, in a few minutes.",
        "prepare": "Turn an event table into a dataset folder.",
        "data": "Public data sets by name, and what is inside a dataset folder.",
        "train": "Train one model on a dataset.",
        "auto": "Find the best model and settings for a dataset within a budget of time.",
        "tune": "Find the best settings of one model within a budget of time.",
        "evaluate": "Measure a trained model on the validation or test part.",
        "compare": "Compare runs: a table with intervals and paired tests, and an HTML report.",
        "recommend": "Recommend items for a user, a typed history, or everyone.",
        "predict": "Predict how much users will like items.",
    },
    "A live service": {
        "export": "Write the bundle that serving loads.",
        "serve": "Serve a model over HTTP: events in, recommendations out.",
        "store": "The event store of a server: fill, count, copy, export, forget a user.",
        "keys": "API keys of a server: who may ask, write and administer.",
        "replay": "Send a log through a running server, and check that it answers as offline evaluation does.",
    },
    "As time goes on": {
        "update": "Train a model on with new events, and let a gate decide whether it is the next version.",
        "prequential": "Evaluate as in production: along the time line, by several refit policies.",
        "drift": "Say whether retraining is due: changes of hit or click rate and of popularity.",
    },
    "What there is": {
        "models": "List the models, or the settings of one.",
        "runs": "List and filter runs, and say in what two of them differ.",
        "doctor": "Say what this machine has, and how it trains fastest.",
    },
}
"""Section of the help page -> its commands in the order of their use, and what each does."""
GROUPS = {
    "data": {
        "list": "Public data sets that can be had by name.",
        "get": "Fetch a public data set and verify it.",
        "describe": "Show the columns and counts of a dataset folder.",
        "audit": "Find leaks and traps in a dataset, for one protocol.",
    },
    "keys": {
        "create": "Make a key and print it, once.",
        "list": "List the keys, without their secrets.",
        "revoke": "Make a key worthless.",
    },
    "store": {
        "import": "Put a dataset's events into a store, so that a server knows its users from the start.",
        "stats": "Count what a store holds.",
        "backup": "Copy a store while it is in use, and check the copy.",
        "export": "Write events, items and impressions as Parquet files.",
        "forget": "Remove everything of a user, and print a receipt.",
    },
}
"""Commands that have commands of their own, and what each of these does."""
_groups = []
for _place, (_title, _commands) in enumerate(SECTIONS.items()):
    _section = Group(_title, sort_key=_place)
    for _order, (_name, _help) in enumerate(_commands.items()):
        if _name not in GROUPS:
            app.command(f"onward.cli.{_name}:{_name}", name=_name, help=_help, group=_section, sort_key=_order)
            continue
        _made = App(name=_name, help=_help, group=_section, sort_key=_order)
        for _own, _what in GROUPS[_name].items():
            _made.command(f"onward.cli.{_name}_{_own}:{_name}_{_own}", name=_own, help=_what)
        app.command(_made)
        _groups.append(_made)
app["--help"].group = app["--version"].group = Group("Options", sort_key=len(SECTIONS))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for bad input, 1 for failure, 130 after Ctrl-C.

    A command may return one of its own: `update` 3 where the gate refused.
    """
    given = _by_its_name(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        _show_whole_help(given)
        code = app(given, exit_on_error=False, print_error=not as_json, result_action="return_value")
    except CycloptsError as error:  # the command line itself; already printed, unless for machines
        if as_json:
            _print_json("usage", str(error), "onward --help")
        return 2
    except OnwardError as error:
        if as_json:
            _print_json(error.code, error.message, error.hint)
        print_error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt as stop:
        if as_json:
            _print_json("stopped", "stopped by Ctrl-C", str(stop))
        print_error("stopped by Ctrl-C", str(stop))
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has gone: nothing is left to say, or to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _by_its_name(given: list[str]) -> list[str]:
    """`evaluate RUN --prequential` is what `prequential RUN` does, which has options of its own."""
    if given[:1] != ["evaluate"] or "--prequential" not in given:
        return given
    return ["prequential", *(word for word in given[1:] if word != "--prequential")]


def _show_whole_help(given: list[str]) -> None:
    """Let the help page of the command called be its whole docstring, example included, not the line of the list.

    The list of all commands has no markdown, whose parser takes a fifth of its time to load.
    """
    called = app.parse_commands([word for word in given if not word.startswith("-")])[1][-1]
    app.help_format = "plaintext" if called is app else "markdown"
    if called is not app and called not in _groups:
        called.help = None


def _print_json(code: str, message: str, hint: str) -> None:
    from onward.payload import Failure, Problem

    print(json.dumps(Failure(error=Problem(code=code, message=message, hint=hint)).as_dict()))
