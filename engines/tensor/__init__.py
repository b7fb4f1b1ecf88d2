"""The tensor engine: models, optimizers and decoding on torch."""

import warnings

# Torch says so where numpy is missing, which nothing here needs.
warnings.filterwarnings("ignore", message="Failed to initialize NumPy", category=UserWarning)
