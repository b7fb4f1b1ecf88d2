"""The scalar engine: models, automatic differentiation and optimizers in pure Python.

It needs neither numpy nor torch: every number is a Python float. Read `autograd`, `models`, `optimizers` and `learner`
in this order; `kernels` holds the matrix arithmetic that they share, and `kv_cache` what generation remembers.
"""
