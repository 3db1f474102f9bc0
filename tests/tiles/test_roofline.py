"""The roofline benchmark counts the operations of a network as one does by hand."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from dual_core.networks.generators import UNet  # noqa: E402

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def roofline():
    sys.path.insert(0, str(BENCHMARKS))  # it takes from its neighbours
    try:
        spec = importlib.util.spec_from_file_location("roofline", BENCHMARKS / "roofline.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def test_operations_of_a_unet(roofline):
    """Two levels, stem of stride 2: by hand, for each cell of 2 x 2 x 2 voxels."""
    stem, head, output_filter = 4**3 * 3, 3 * 8, 3 * 5 * 8 * 8
    fine = 27 * (3 * 3 + 3 * 3 + (4 + 3) * 3 + 3 * 3)
    coarse = 27 * (3 * 4 + 4 * 4)
    by_hand = 2 * (stem + head + output_filter + fine + coarse / 8) / 8
    network = UNet((3, 4), 2, output_filter=True)
    assert roofline.operations_a_voxel(network, network.multiple) == pytest.approx(by_hand)


def test_operations_of_the_refinement(roofline):
    with_it, without = UNet((2,), refinement=5), UNet((2,))
    more = roofline.operations_a_voxel(with_it, 1) - roofline.operations_a_voxel(without, 1)
    assert more == pytest.approx(2 * 27 * (2 * 5 + 5 * 5 + 5 * 1))


@pytest.mark.parametrize(("weights", "inputs"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_backward_counts_what_has_a_gradient(roofline, weights, inputs):
    layer = torch.nn.Conv3d(2, 3, 3, padding=1).requires_grad_(bool(weights))
    volume = torch.zeros(1, 2, 4, 4, 4, requires_grad=bool(inputs))
    forward = 2 * 27 * 2 * 3 * 4**3
    assert roofline.operations_of(layer, volume, layer(volume)) == (
        forward, forward * (weights + inputs)
    )
    with torch.no_grad():
        assert roofline.operations_of(layer, volume, layer(volume)) == (forward, 0)


def test_parts_within_parts_are_counted_once(roofline):
    layer = torch.nn.Linear(2, 3)
    counter = roofline.Counter(layer)
    watch = roofline.Stopwatch(counter)
    started = time.perf_counter()
    with watch.part("outer"):
        layer(torch.zeros(1, 2))
        with watch.part("inner"):
            layer(torch.zeros(5, 2))
        layer(torch.zeros(1, 2))
    assert sum(watch.seconds.values()) <= time.perf_counter() - started
    forward = 2 * 2 * 3
    # With gradients the weights' count as well.
    assert dict(counter.by_part) == {"outer": 2 * 2 * forward, "inner": 5 * 2 * forward}
