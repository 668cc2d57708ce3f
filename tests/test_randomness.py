"""Random streams: the same for the same use, seed and numbers, and never the same for others."""

import os
from itertools import product

import torch

from glat.data.randomness import Use, clip_generators, generator, torch_generator, torch_seed


def test_a_stream_is_a_function_of_its_use_seed_and_numbers():
    assert generator(Use.MASKS, 3, 5).random(4).tolist() == generator(Use.MASKS, 3, 5).random(4).tolist()
    first, again = (torch.rand(4, generator=torch_generator(Use.DROPOUT, 3, 5, 0)) for _ in range(2))
    assert torch.equal(first, again)


def test_no_two_streams_are_the_same_whatever_seeds_and_numbers_spell():
    seeds = (0, 1, 4, 2**32, 2**32 + 4, 4 + (5 << 32), 2**64 + 4)
    keys = [(use, seed, *numbers) for use, seed in product(Use, seeds) for numbers in ((), (0,), (4,), (0, 0), (4, 5))]
    assert len({torch_seed(*key) for key in keys}) == len(keys)


def test_a_clip_s_stream_is_that_of_its_name_and_the_seed():
    def draws(seed, names):
        return [torch.rand(3, generator=g).tolist() for g in clip_generators(seed, names)]

    assert draws(0, ["a", "b", "-c_30000"]) == [draws(0, [name])[0] for name in ("a", "b", "-c_30000")]
    # Stay what they are: scores of random windows hang on them. A file's name may be no UTF-8, too.
    assert clip_generators(0, ["-c_30000", "Ü"])[0].initial_seed() == 4541271520569347330
    assert draws(0, [os.fsdecode(b"\xff")]) != draws(0, [os.fsdecode(b"\xfe")])
    assert len({tuple(d) for seed in (0, 1) for d in draws(seed, ["", "a", "b", "ab"])}) == 8
