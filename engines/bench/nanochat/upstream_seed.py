"""Upstream's training with another seed: `python upstream_seed.py SEED OPTION...`.

Upstream has no option for the seed; its source calls `torch.manual_seed(42)`. SEED is added to it, without changing
upstream's files.
"""

import runpy
import sys

import torch


def main() -> None:
    """Patch torch's seeding and run upstream's training script."""
    offset = int(sys.argv[1])
    seed_all, seed_gpu = torch.manual_seed, torch.cuda.manual_seed
    torch.manual_seed = lambda seed: seed_all(seed + offset)
    torch.cuda.manual_seed = lambda seed: seed_gpu(seed + offset)
    sys.argv = ["base_train", *sys.argv[2:]]
    runpy.run_module("scripts.base_train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
