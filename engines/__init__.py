"""The core: settings, data, models, training, checkpoints and run directories.

It imports neither the screens nor the command line. Packages that viewers use (`settings`, `events`, `runs`) do not
import torch or numpy; engines are imported through `registry`.
"""

__version__ = "0.1.0"
