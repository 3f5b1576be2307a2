# SPDX-License-Identifier: Apache-2.0
"""Every scenario starts from the saved cluster "base" (tests/lab/prepare) and its nodes' journals are kept when it fails."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from holdfast_check.cluster import Cluster  # noqa: E402
from holdfast_check.prepare import BASE, BASES  # noqa: E402
from holdfast_lab.errors import LabError  # noqa: E402
from holdfast_lab.lab import Lab  # noqa: E402
from holdfast_lab.paths import REPOSITORY  # noqa: E402

RESULTS = pathlib.Path(REPOSITORY) / "build" / "tests" / "lab"


def pytest_configure(config):
    config.addinivalue_line("markers", "full: only in make check-full")
    config.addinivalue_line("markers", "base(name): starts from that saved cluster instead of \"base\"")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


def keep_journals(cluster, folder):
    for name in cluster.lab.state.names:
        try:
            text = cluster.lab.logs(name, ["-b", "-n", "4000", "-o", "short-precise"])
        except (LabError, OSError) as error:
            text = str(error)
        (folder / f"{name}.journal").write_text(text)


@pytest.fixture
def cluster(request):
    """The restored base cluster, its guest running, protected and answering."""
    lab = Lab(progress=lambda text: print(text, flush=True))
    own = request.node.get_closest_marker("base")
    base = os.environ.get("HOLDFAST_LAB_BASE") or (own.args[0] if own else BASE)
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


@pytest.fixture
def writing(cluster, request):
    """A client that writes during the whole scenario."""
    client = cluster.start_writer(RESULTS / request.node.name / "history.jsonl")
    yield client
    if client.process.poll() is None:
        client.process.kill()
        client.process.wait()
