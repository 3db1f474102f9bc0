"""What several tests of denoising use: a real model, and the command."""

import pytest


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    import torch

    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig
    from dual_core.networks.model import DualModel, plain_config

    torch.manual_seed(3)
    config = NetworkConfig(
        channels=(2, 3),
        noise_channels=(2, 2),
        code_size=4,
        noise_side=8,
        discriminator_channels=(2, 2),
    )
    card = ModelCard(voxel_size_A=10.0, contrast="bright", network=plain_config(config))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    DualModel(config, card).save(path)
    return path


@pytest.fixture
def dual(monkeypatch, capsys):
    """Run ``dual`` in this process; gives the status and what it said on stderr."""
    import logging

    from dual_core.cli.main import main

    root = logging.getLogger()
    before = root.handlers[:], root.level

    def call(*arguments):
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return status, captured.err, captured.out

    yield call
    root.handlers[:], root.level = before
    logging.getLogger("dual_core").setLevel(logging.NOTSET)
