"""The lab: settings, data, models, training, checkpoints and run directories.

Nothing here imports a screen or the command line. What a viewer needs (`config`, `events`,
`runs`) imports neither torch nor numpy; what trains is reached through `registry`.
"""

__version__ = "0.1.0"
