"""The tensor engine: the same small models as the scalar one, and a gpt that scales, on torch."""

import warnings

# Torch says so where numpy is missing, which nothing here needs.
warnings.filterwarnings("ignore", message="Failed to initialize NumPy", category=UserWarning)
