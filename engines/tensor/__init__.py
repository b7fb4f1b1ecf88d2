"""The tensor engine: models, optimizers and decoding on torch."""

import os

# Torch imports numpy, which generates the samples of a run on a CPU: `engines.cpu_inference.load` has the reason.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# How often a thread of GNU OpenMP looks for work before it sleeps; read once, when torch is imported. By default
# threads look so long that two took 100 times as long as one on a busy machine. This costs nothing on an idle one.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
