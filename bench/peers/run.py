"""Onward and its peers on the same file, in one run, taking turns; writes bench/RESULTS.md and bench/results.png.

python bench/peers/run.py [--data FILE] [--quick]

Without --data it runs on MovieLens-100K. Measurements go to .bench/results.jsonl as they are made: a run that was
stopped goes on with --stages, and --stages none only writes the report again. --page keeps another machine's page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import settings
from records import Records
from report import picture_of, write_report
from stages import Plan, Run
from venvs import CACHE, ensure, interpreter, versions

from onward.machine import describe_machine, usable_cores

STAGES = ("imports", "200", "50", "static", "quality")


def main(arguments: list[str]) -> int:
    """Parse, install, measure, write."""
    options = _options(arguments)
    begin = time.time()
    records = Records(CACHE / ("quick.jsonl" if options.quick else "results.jsonl"))
    stages = [] if options.stages == "none" else options.stages.split(",")
    if unknown := set(stages) - set(STAGES):
        raise SystemExit(f"unknown stage: {', '.join(sorted(unknown))}; known: {', '.join(STAGES)}")
    chosen = [library for library in settings.THROUGHPUT if not options.only or library.environment in options.only]
    for name in {library.environment for library in (*chosen, *settings.STATIC)} | {"plot"}:
        ensure(name, options.torch)
    if stages:
        _measure(Run(options.data, _plan(options), records), stages, chosen, options, records)
    page = (CACHE if options.quick else settings.HERE.parent) / options.page
    picture = picture_of(page)
    write_report(records, page)
    plot = [str(interpreter("plot")), str(settings.HERE / "plot.py"), str(records.path), str(picture)]
    subprocess.run(plot, check=True)
    print(f"wrote {page} and {picture} after {(time.time() - begin) / 60:.0f} minutes")
    return 0


def _measure(run: Run, stages: list[str], chosen: list, options: argparse.Namespace, records: Records) -> None:
    environments = {library.environment: library for library in (*settings.STATIC[::-1], *chosen[::-1])}
    installed = {name: versions(name) for name in environments}
    records.keep_only(run.name)
    records.start("run", machine=describe_machine().model_dump(mode="json"), versions=installed)
    if "imports" in stages:
        run.imports(list(environments.values()))
    for length in settings.LENGTHS:
        if str(length) in stages:
            run.throughput(chosen, length)
    if "static" in stages:
        run.static(settings.STATIC)
    if "quality" in stages:
        run.quality([key for key in options.quality if not options.only or key.split("-")[0] in options.only])


def _plan(options: argparse.Namespace) -> Plan:
    if options.quick:
        return Plan(1, 4.0, 50, 40.0, options.threads)
    return Plan(options.rounds, options.seconds, 300, options.quality_seconds, options.threads)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="`user item` a line, each user's events in order; may be gzipped")
    parser.add_argument("--quick", action="store_true", help="about five minutes, results under .bench only")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every library (3)")
    parser.add_argument("--seconds", type=float, default=15.0, help="training in one turn (15)")
    parser.add_argument("--quality-seconds", type=float, default=300.0, help="training for the quality curve (300)")
    parser.add_argument("--quality", type=lambda text: text.split(","), default=["onward", "replay", "rectools"])
    parser.add_argument("--stages", default=",".join(STAGES), help=f"some of {','.join(STAGES)}, or none")
    parser.add_argument("--only", type=lambda text: text.split(","), help="who takes part, such as onward,replay")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of every library (all cores)")
    parser.add_argument("--page", default="RESULTS.md", help="name of the report, its picture beside it (RESULTS.md)")
    parser.add_argument("--torch", default="torch==2.13.0", help="PyTorch of the peers' environments")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(sys.argv[1:]))
