"""Settings of a study, besides those of its runs."""

import dataclasses

from engines.settings.fields import AUTO, setting

LAUNCHERS = ("local", "slurm", "ray")
PICKS = ("grid", "one-at-a-time", "random")


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """Design and execution of a study. An axis is a setting of the runs and the values it takes; a cell is one
    combination of values."""

    # fmt: off
    seeds: int = setting("study", "int", 3, "number of seeds for each cell: --seed and the integers after it", at_least=1, at_most=1000)  # noqa: E501
    pick: str = setting("study", "str", "grid", "design: every combination of the axes' values, the base with one change per cell, or a random search", choices=PICKS)  # noqa: E501
    cells: int | None = setting("study", "int", None, "number of combinations in a random search, --pick random (default: 16)", at_least=1, at_most=10_000, optional=True)  # noqa: E501
    halving: bool = setting("study", "bool", False, "successive halving: train all cells for a fraction of their steps, the better half for twice as many, and so on")  # noqa: E501
    jobs: int = setting("study", "int", AUTO, "number of runs trained at the same time (auto: one per GPU, otherwise by the number of cores)", at_least=1, at_most=1000)  # noqa: E501
    one_process: bool = setting("study", "bool", AUTO, "train the runs of each job one after another in one process (auto: if every run takes a few seconds)")  # noqa: E501
    launcher: str = setting("study", "str", "local", "where the runs train: this machine, Slurm (through submitit) or a Ray cluster", choices=LAUNCHERS)  # noqa: E501
    launcher_options: str = setting("study", "str", "", "options of the launcher: submitit parameters, such as slurm_partition=gpu,gpus_per_node=1, or Ray task options and address=")  # noqa: E501
    # fmt: on
