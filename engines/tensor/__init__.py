"""The tensor engine: models, optimizers and decoding on torch."""

import os

# Torch imports numpy, which generates the samples of a run on a CPU: `engines.cpu_inference.load` has the reason.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
