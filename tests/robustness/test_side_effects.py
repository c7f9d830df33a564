"""What a library must not change in the process that uses it, or must put back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mobilesam import cores, loading
from mobilesam.batch import ModelChoice
from mobilesam.bench import describe_environment
from mobilesam.cli import doctor
from mobilesam.cli.batch import split_cores
from mobilesam.cli.model import ModelOptions
from mobilesam.cli.options import Device
from mobilesam.onnx import sessions
from tests.conftest import ROOT
from tests.robustness.batch_runs import ColorChoice, paint, segment

ON_LINUX = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPU affinity is set on Linux only")

# Prints what happens to the affinity of the thread that calls a model. For each way of loading and each start: the
# calls that set it in load, encode and decode, every value that another thread sees meanwhile, the value afterwards.
# And for each way of loading the cores that ONNX Runtime's threads are kept on.
AFFINITY = """
import json, os, threading
import numpy
import mobilesam

def calls_of(function):
    calls.clear()
    function()
    return list(calls)

def watch():
    while not done.wait(1e-3):
        seen.add(frozenset(os.sched_getaffinity(caller)))

def threads():
    return set(map(int, os.listdir("/proc/self/task")))

set_affinity, caller, calls, found, kept = os.sched_setaffinity, threading.get_native_id(), [], {}, {}
set_affinity(0, range(os.cpu_count()))  # a test process may have been given a few of them
everywhere = sorted(os.sched_getaffinity(0))
os.sched_setaffinity = lambda pid, mask: (calls.append(sorted(mask)), set_affinity(pid, mask))
image = numpy.zeros((40, 60, 3), numpy.uint8)
ways = {"default": {}, "pinned": {"pin_threads": True}}
ways |= {"one": {"pin_threads": True, "threads": 1}, "many": {"threads": os.cpu_count() + 1}}
for name, how in ways.items():
    set_affinity(0, everywhere)
    before = threads()
    of_load = calls_of(lambda: found.update(model=mobilesam.load(backend="onnx", **how)))
    predictor = mobilesam.SamPredictor(found.pop("model"))
    masks = [os.sched_getaffinity(thread) for thread in threads() - before]
    kept[name] = sorted({core for mask in masks if len(mask) == 1 for core in mask})
    for start in {"one": [everywhere], "many": []}.get(name, [everywhere, everywhere[-1:]]):
        set_affinity(0, start)
        seen, done, watching = set(), threading.Event(), threading.Thread(target=watch)
        watching.start()
        of_encode = calls_of(lambda: predictor.set_image(image))
        of_decode = calls_of(lambda: predictor.predict([[20, 20]], [1]))
        done.set()
        watching.join()
        after = sorted(os.sched_getaffinity(0))
        calls_seen = [of_load, of_encode, of_decode, sorted(map(sorted, seen)), after]
        found[f"{name} {len(start) < len(everywhere)}"] = calls_seen
print(json.dumps([everywhere, found, kept]))
"""


def run(script: str) -> list:
    """Return the JSON value that a script prints in a process of its own."""
    return json.loads(start(script).stdout)


def start(script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("first", ["mobilesam", "mobilesam.onnx", "mobilesam.export"])
def test_onnx_runtime_keeps_no_file_for_reports_on_its_use(first: str, tmp_path: Path) -> None:
    """From 1.32 on, its import would write an identifier of the machine into the home folder, and send reports."""
    script = f"import json, os, {first}, mobilesam.onnx.providers as providers; providers.available()"
    variables = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    variables.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script], env=variables, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


@pytest.fixture(scope="module")
def affinity() -> list:
    """Return all usable cores, what the script above finds by way of loading and whether it starts on one core, and the
    cores that ONNX Runtime's threads are kept on.
    """
    return run(AFFINITY)


@ON_LINUX
@pytest.mark.weights
@pytest.mark.parametrize("name", ["default", "one"])
def test_a_caller_keeps_its_affinity_before_during_and_after_a_call(affinity, name: str) -> None:
    everywhere, result, _ = affinity
    assert result[f"{name} False"] == [[], [], [], [everywhere], everywhere]
    if len(everywhere) > 1 and name == "default":
        last = everywhere[-1:]
        assert result["default True"] == [[], [], [], [last], last]


@ON_LINUX
@pytest.mark.weights
def test_with_pin_threads_the_caller_moves_to_the_first_core_at_each_call(affinity) -> None:
    everywhere, result, _ = affinity
    pinned = len(everywhere) == os.cpu_count() > 1  # not on a machine shared by sets of cores
    of_load, of_encode, of_decode, seen, after = result["pinned False"]
    assert of_load == []
    assert of_encode == of_decode == ([[everywhere[0]], everywhere] if pinned else [])
    assert everywhere in seen
    assert after == everywhere
    if len(everywhere) > 1:
        last = everywhere[-1:]
        calls = [last, last] if pinned else []
        assert result["pinned True"] == [[], calls, calls, [last], last]


@ON_LINUX
@pytest.mark.weights
def test_one_thread_a_core_keeps_to_its_core(affinity) -> None:
    everywhere, _, kept = affinity
    others = everywhere[1:] if len(everywhere) == os.cpu_count() else []
    assert kept == {"default": others, "pinned": others, "one": [], "many": []}


@pytest.mark.torch
@pytest.mark.weights
def test_only_a_number_of_threads_changes_that_of_torch_and_for_the_whole_process() -> None:
    import torch

    def numbers() -> list[int]:
        result = [torch.get_num_threads()]
        other = threading.Thread(target=lambda: result.append(torch.get_num_threads()))
        other.start()
        other.join()
        return result

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 2)
        loading.load(backend="torch", device="cpu")
        assert numbers() == [before + 2, before + 2]
        loading.load(backend="torch", device="cpu", threads=before + 1)
        assert numbers() == [before + 1, before + 1]
    finally:
        torch.set_num_threads(before)


def test_quantizing_hides_the_advice_of_its_tools_alone() -> None:
    script = """
import json, logging
import numpy, onnx
import mobilesam.errors
from onnx import helper, numpy_helper
from mobilesam.export import recipes

weights = numpy_helper.from_array(numpy.eye(64, dtype=numpy.float32), "weights")
tensors = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 64]) for name in ("x", "y")]
product = helper.make_node("MatMul", ["x", "weights"], ["y"], "product")
graph = helper.make_graph([product], "one", *[[tensor] for tensor in tensors], [weights])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
root = logging.getLogger()
tools = [logging.getLogger(f"onnxruntime.transformers.{name}") for name in ("float16", "onnx_model")]

def state():
    levels = [[each.level, len(each.filters)] for each in (root, *tools)]
    return [root.manager.disable, len(root.handlers), levels]

def feeds():
    logging.warning("mine, on the root logger")
    logging.getLogger("mine").warning("mine")
    yield {"x": numpy.ones((1, 64), numpy.float32)}

before = state()
without_handlers = len(root.handlers) == 0
recipes.dynamic(model)
recipes.half(model)
try:
    recipes.refuse_old_runtime()
except mobilesam.errors.MissingDependencyError as error:
    assert str(error).startswith("The recipe static needs onnxruntime 1.27 or newer, and 1.18."), error
    with recipes._quiet():
        list(feeds())
else:
    recipes.static(model, feeds(), ["product"])
print(json.dumps([without_handlers, before, state()]))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    without_handlers, before, after = json.loads(finished.stdout)
    assert without_handlers
    assert after == before
    assert finished.stderr.splitlines() == ["mine, on the root logger", "mine"]


@pytest.mark.torch
def test_making_the_graph_templates_keeps_the_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from mobilesam.export import templates

    monkeypatch.setattr(templates, "TEMPLATES", {})  # the network is built, and no graph traced
    before = torch.random.get_rng_state()
    templates.make()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_run_goes_on_whether_threads_are_pinned_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paint(Path("photos/a.png"))
    segment(["photos"], Path("out"), formats=["csv"])
    report = segment(["photos"], Path("out"), formats=["csv"], model=ColorChoice(pin_threads=True), resume=True)
    assert report.done == 1


def test_the_settings_in_a_journal_are_those_of_earlier_versions() -> None:
    settings = ColorChoice("a.pt", "onnx", "cpu", 3, "cpu", pin_threads=True).settings()
    expected = {"model": "colors", "backend": "onnx", "device": "cpu", "threads": None, "provider": "cpu"}
    assert list(settings.items()) == list(expected.items())
    assert ModelChoice().pin_threads is False


@ON_LINUX
def test_all_count_the_cores_that_this_process_may_use() -> None:
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(own)})
    try:
        assert cores.usable_cores() == describe_environment()["cores"] == doctor._threads(False)["processors"] == 1
        assert split_cores(None, None, ModelOptions(device=Device.cpu)) == (1, 1)
        assert not sessions.one_thread_per_core(None)
        assert not sessions.one_thread_per_core(os.cpu_count())
    finally:
        os.sched_setaffinity(0, own)


def test_python_itself_counts_the_cores_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    assert cores.usable_cores() == 7
    monkeypatch.setattr(os, "process_cpu_count", lambda: None)
    assert cores.usable_cores() == 1
