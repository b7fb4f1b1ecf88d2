"""Runs upstream's training with another seed than the 42 in its source: `python seeded.py SEED FLAG...`.

Its files stay as they are. Where they call `torch.manual_seed(42)`, the seed is moved by SEED.
"""

import runpy
import sys

import torch


def main() -> None:
    moved = int(sys.argv[1])
    plain, on_gpu = torch.manual_seed, torch.cuda.manual_seed
    torch.manual_seed = lambda seed: plain(seed + moved)
    torch.cuda.manual_seed = lambda seed: on_gpu(seed + moved)
    sys.argv = ["base_train", *sys.argv[2:]]
    runpy.run_module("scripts.base_train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
