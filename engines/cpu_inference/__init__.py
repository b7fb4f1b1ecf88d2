"""Generation on a CPU with numpy.

A new process generates its first token long before torch would be imported, and an operation on a few thousand numbers
costs a fraction of one in torch. The models are those of `engines.tensor.models`, without gradients.
"""
