# SPDX-License-Identifier: Apache-2.0
"""Every scenario starts from a saved cluster (tests/lab/prepare) and its nodes' journals are kept when it fails.

With --resume (make check-full) every result is written down, and what has passed with this build is not run again."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from holdfast_check import results  # noqa: E402
from holdfast_check.cluster import CliError, Cluster  # noqa: E402
from holdfast_check.prepare import BASE, BASES  # noqa: E402
from holdfast_lab.errors import LabError  # noqa: E402
from holdfast_lab.lab import Lab  # noqa: E402
from holdfast_lab.paths import REPOSITORY  # noqa: E402

RESULTS = pathlib.Path(REPOSITORY) / "build" / "tests" / "lab"


def base_name(item=None):
    """The saved cluster that this scenario starts from; the one that all but the marked ones start from."""
    own = item.get_closest_marker("base") if item else None
    return os.environ.get("HOLDFAST_LAB_BASE") or (own.args[0] if own else BASE)


def pytest_addoption(parser):
    parser.addoption("--resume", action="store_true", help="run only scenarios that have not passed with this build")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: only in make check-full")
    config.addinivalue_line("markers", "base(name): starts from that saved cluster instead of \"base\"")
    config.resume = {"build": results.build_key(base_name()), "names": [], "ran": set()} if config.getoption("--resume") else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if not config.resume:
        return
    found = results.load(config.resume["build"])
    config.resume["names"] = [item.name for item in items]
    done = [item for item in items if found.get(item.name, {}).get("outcome") == "passed"]
    config.hook.pytest_deselected(items=done)
    items[:] = [item for item in items if item not in done]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())
    if item.config.resume and call.when == "teardown":
        reports = [report for when in ("setup", "call", "teardown") if (report := getattr(item, f"report_{when}", None))]
        results.add(item.config.resume["build"], item.name, results.outcome_of(reports), sum(report.duration for report in reports))
        item.config.resume["ran"].add(item.name)


def pytest_terminal_summary(terminalreporter, config):
    if not config.resume:
        return
    lines, passed, failed = results.table(config.resume["names"], results.load(config.resume["build"]), config.resume["ran"])
    terminalreporter.section(f"scenarios with build {config.resume['build']}")
    for line in lines:
        terminalreporter.write_line(line)
    results.FOLDER.mkdir(parents=True, exist_ok=True)
    results.COUNTS.write_text(f"{passed} {failed}\n")


def keep_journals(cluster, folder):
    for name in cluster.lab.state.names:
        try:
            text = cluster.lab.logs(name, ["-b", "-n", "4000", "-o", "short-precise"])
        except (LabError, OSError) as error:
            text = str(error)
        (folder / f"{name}.journal").write_text(text)


def tell_story(cluster):
    """What an operator would look at first, from the first node that answers: for a failure on a machine whose journals nobody can fetch."""
    for name in cluster.alive():
        try:
            if cluster.cli(name, "status", timeout_s=30, check=False).returncode:
                continue
            newest = cluster.json(name, "incident", "list")[:1]
            for words in [["status"], ["guest", "show", "demo"], *(["incident", "show", one["id"]] for one in newest)]:
                print(f"--- {name}: holdfast {' '.join(words)}\n{cluster.cli(name, *words, check=False).stdout[-8000:]}")
            return
        except (LabError, CliError, ValueError) as error:
            print(f"--- {name}: {error}")


@pytest.fixture
def cluster(request):
    """The restored base cluster, its guest running, protected and answering."""
    lab = Lab(progress=lambda text: print(text, flush=True))
    base = base_name(request.node)
    lab.restore(base, old_image=base not in BASES)
    made = Cluster(lab)
    made.wait_guest(made.names[0], protected=True, timeout_s=180)
    made.wait_answering()
    yield made
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        folder = RESULTS / request.node.name
        folder.mkdir(parents=True, exist_ok=True)
        keep_journals(made, folder)
        tell_story(made)


@pytest.fixture
def writing(cluster, request):
    """A client that writes during the whole scenario."""
    client = cluster.start_writer(RESULTS / request.node.name / "history.jsonl")
    yield client
    if client.process.poll() is None:
        client.process.kill()
        client.process.wait()
