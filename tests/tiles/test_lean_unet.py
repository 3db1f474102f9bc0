"""The lean evaluator of a U-Net gives what the plain layers give, for every kind of U-Net."""

import copy
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dual_core.networks.generators import UNet  # noqa: E402
from dual_core.tiles import lean_parts  # noqa: E402
from dual_core.tiles.lean_unet import REFINED_PLANES, LeanUNet  # noqa: E402
from dual_core.tiles.runner import NetworkRunner  # noqa: E402

KINDS = [
    ((24, 48, 96), {"stem_stride": 2, "output_filter": True}),
    ((24, 48, 96), {"stem_stride": 2, "refinement": 8, "input_gain": 1.0}),
    ((5, 6, 7, 8), {"stem_stride": 2, "refinement": 3, "output_filter": True}),
    ((8,), {"stem_stride": 2, "output_filter": True}),
    ((16, 20), {}),
    ((3, 4, 5), {"refinement": 4, "input_gain": 0.3}),
    ((2,), {"refinement": 1}),
]
# In multiples of what a network shrinks by: thin ones, cubes, and more planes than go at once.
SHAPES = [(1, 1, 1), (1, 2, 5), (4, 3, 1), (3, 3, 3)]


def random_unet(channels, **options):
    """All weights at work: heads and biases begin at zero."""
    torch.manual_seed(1)
    network = UNet(channels, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.2)
    return network.eval().to(memory_format=torch.channels_last_3d)


def plain_pass(network, volume):
    with torch.inference_mode():
        return network(volume[None, None])[0, 0]


def check(network, volume):
    """As near to the plain layers in float64 as those are in float32, and 1e-5 beside them."""
    plain = plain_pass(network, volume)
    lean = LeanUNet(network)(volume)
    assert lean.shape == volume.shape
    exact = copy.deepcopy(network).double()
    if network.output_filter is None:
        truth = plain_pass(exact, volume.double())
        error = (lean - truth).abs().max()
        assert error <= 3 * (plain - truth).abs().max() + 1e-6 * truth.abs().max()
    scale = plain.square().mean().sqrt()
    assert (lean - plain).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize(("channels", "options"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_layers(channels, options, shape):
    network = random_unet(channels, **options)
    check(network, torch.randn([n * network.multiple for n in shape]))


def test_refinement_in_parts_equals_the_whole():
    network = random_unet((2, 3), refinement=2)
    check(network, torch.randn(2 * REFINED_PLANES + 6, 12, 8))


IN_BFLOAT16 = [
    ((24, 48, 96), {"stem_stride": 2, "output_filter": True}),
    ((24, 48, 96), {"stem_stride": 2, "refinement": 8, "input_gain": 1.0}),
    ((8,), {"stem_stride": 2, "output_filter": True}),
    ((16, 24), {}),
]


def fill_free_memory():
    """What is allocated next holds values that show in a result."""
    sizes = (7, 33, 100, 500, 1000, 3000, 10000, 30000, 100000, 300000)
    held = [torch.full((size,), torch.nan, dtype=torch.bfloat16) for size in sizes * 6]
    del held


@pytest.mark.skipif(not lean_parts.has_operators(torch.bfloat16), reason="torch lacks operators")
@pytest.mark.parametrize(("channels", "options"), IN_BFLOAT16)
@pytest.mark.parametrize("shape", [(1, 2, 5), (3, 3, 3), (5, 1, 2)])
def test_bfloat16_is_no_further_off_than_plain_layers_in_it(channels, options, shape):
    network = random_unet(channels, **options)
    volume = torch.randn([n * network.multiple for n in shape])
    exact = plain_pass(network, volume)
    with torch.autocast("cpu", torch.bfloat16):
        plain = plain_pass(network, volume).float()
    evaluator = LeanUNet(network, torch.bfloat16)
    fill_free_memory()
    lean = evaluator(volume)
    assert lean.dtype == torch.float32 and lean.shape == volume.shape
    assert (lean - exact).std() <= 1.5 * (plain - exact).std() + 1e-3 * exact.std()
    assert not torch.equal(lean, LeanUNet(network)(volume))


def test_bfloat16_is_only_for_networks_that_are_right_in_it():
    usual = NetworkRunner(random_unet((8, 16)), 2, 8, "cpu", "bfloat16")
    assert usual.bfloat16 == lean_parts.has_operators(torch.bfloat16)
    network = random_unet((8, 12))
    odd = NetworkRunner(network, 2, 8, "cpu", "bfloat16")
    assert not odd.bfloat16 and "float32" in odd.describe()
    volume = torch.randn(8, 8, 8)
    np.testing.assert_array_equal(odd(volume.numpy()), LeanUNet(network)(volume).numpy())


@pytest.mark.parametrize(("channels", "options"), KINDS)
def test_equals_them_without_the_operators_of_onednn(channels, options, monkeypatch):
    monkeypatch.setattr(lean_parts, "has_operators", lambda kind: False)
    network = random_unet(channels, **options)
    check(network, torch.randn([2 * network.multiple] * 3))


def test_faces_see_zeros_beyond_them_at_every_level():
    """A constant volume shows any wrong face at once."""
    network = random_unet((6, 7, 8))
    check(network, torch.ones(16, 20, 24))


def test_several_threads_at_once_and_the_input_is_kept():
    lean = LeanUNet(random_unet((8, 12), stem_stride=2, refinement=2))
    volumes = [torch.randn(16, 16, 16) for _ in range(4)]
    before = [volume.clone() for volume in volumes]
    expected = [lean(volume) for volume in volumes]
    found = [None] * 4

    def run(index):
        found[index] = lean(volumes[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        torch.testing.assert_close(found[index], expected[index], rtol=0, atol=1e-6)
        assert torch.equal(volumes[index], before[index])


def test_runner_takes_it_for_unets_in_float32_only():
    network = random_unet((4, 5), stem_stride=2)
    tile = np.random.default_rng(0).normal(size=(16, 12, 20)).astype(np.float32)
    runner = NetworkRunner(network, 4, 10, "cpu", "float32")
    network.forward = None  # not called
    result = runner(tile)
    del network.forward
    np.testing.assert_allclose(result, plain_pass(network, torch.from_numpy(tile)), atol=1e-5)
    other = NetworkRunner(torch.nn.Conv3d(1, 1, 3, padding=1), 1, 1, "cpu", "float32")
    assert other(tile).shape == tile.shape
