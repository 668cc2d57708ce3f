"""Batch norm over all processes against torch's own over the same clips in one."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from glat.training.batchnorm import SyncBatchNorm, synchronise

PARTS = ([3, 2], [2, 2])  # clips of each of two processes
LAYERS = {
    "affine": lambda: nn.BatchNorm2d(4).double(),
    "plain": lambda: nn.BatchNorm2d(4, affine=False, momentum=None).double(),
}


def values(clips: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mels far from zero and close to each other, in float64, and what weighs each output in a loss."""
    draw = torch.Generator().manual_seed(clips)
    x, weight = (torch.randn(clips, 4, 6, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    return x * 0.1 - 90 + torch.arange(4)[:, None, None], weight


def passed(layer: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """What two steps through a layer give: output, the gradients of sum(weight x output), the kept statistics."""
    for _ in range(2):
        layer.zero_grad()
        x = x.detach().requires_grad_()
        out = layer(x)
        (weight * out).sum().backward()
    found = {"output": out.detach(), "x.grad": x.grad} | layer.state_dict()
    return found | {f"{name}.grad": parameter.grad for name, parameter in layer.named_parameters()}


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {}
    for parts in PARTS:
        for name, make in LAYERS.items():
            first = sum(parts[:rank])
            x, weight = (v[first : first + parts[rank]] for v in values(sum(parts)))
            results[name, *parts] = passed(synchronise(make(), "cpu"), x, weight)
    layer = synchronise(nn.BatchNorm2d(4), "cpu")
    single = layer(values(4)[0][2 * rank : 2 * rank + 2].float()).detach()
    used = layer.eval()(values(2)[0].bfloat16()).detach()
    torch.save({"results": results, "float32": single, "used": used}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("name", LAYERS)
def test_two_processes_give_what_one_gives_with_all_clips(two, name, parts):
    one = passed(LAYERS[name](), *values(sum(parts)))
    first, second = (rank["results"][name, *parts] for rank in two)
    close = lambda a, b, what: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=what)
    for key, value in one.items():
        if key in ("output", "x.grad"):
            close(torch.cat((first[key], second[key])), value, key)
        elif key.endswith(".grad"):
            close(first[key] + second[key], value, key)  # DDP adds them up
        else:
            close(first[key], value, key)
            assert torch.equal(first[key], second[key]), key


def test_float32_keeps_the_digits_of_log_mels(two):
    wanted = nn.BatchNorm2d(4).double()(values(4)[0]).detach()
    # 90 dB with 24 bits are right to 4e-6 dB, and the deviation is 0.1 dB.
    torch.testing.assert_close(torch.cat([rank["float32"] for rank in two]).double(), wanted, rtol=0, atol=1e-3)


def test_alone_it_is_torchs_own_and_in_use_it_does_not_ask_the_others(two):
    x, weight = values(5)
    make = LAYERS["affine"]
    ours, theirs = (passed(layer, x, weight) for layer in (synchronise(make(), "cpu"), make()))
    assert all(torch.equal(value, ours[key]) for key, value in theirs.items())
    assert torch.equal(two[0]["used"], two[1]["used"]) and two[0]["used"].dtype == torch.bfloat16


def test_every_batch_norm_of_a_network_becomes_one_and_keeps_its_weights():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(3, affine=False)))
    before = {key: value.data_ptr() for key, value in network.state_dict().items()}
    for accelerator, kind in (("cpu", SyncBatchNorm), ("cuda", nn.SyncBatchNorm)):
        made = synchronise(network, accelerator)
        assert [type(made[0]), type(made[1][1])] == [kind] * 2
        assert {key: value.data_ptr() for key, value in made.state_dict().items()} == before
