"""What a study is asked for beside the settings of its runs."""

import dataclasses

from engines.settings.fields import AUTO, setting

LAUNCHERS = ("local", "slurm", "ray")
PICKS = ("grid", "one-at-a-time", "random")


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """How many runs a study makes of its axes. An axis is a setting of the runs with the values it takes."""

    # fmt: off
    seeds: int = setting("study", "int", 3, "seeds that every cell is trained with: --seed and those after it", at_least=1, at_most=1000)  # noqa: E501
    pick: str = setting("study", "str", "grid", "cells: all combinations of the axes, the base with one change each, or combinations by lot", choices=PICKS)  # noqa: E501
    cells: int | None = setting("study", "int", None, "combinations that --pick random draws (default: 16)", at_least=1, at_most=10_000, optional=True)  # noqa: E501
    halving: bool = setting("study", "bool", False, "train all cells for a part of their steps, the better half for twice as many, and so on")  # noqa: E501
    jobs: int = setting("study", "int", AUTO, "cells trained at once (auto: one per GPU, else from the number of cores)", at_least=1, at_most=1000)  # noqa: E501
    one_process: bool = setting("study", "bool", AUTO, "train cells one after another in one process for each of --jobs (auto: where all take a few seconds)")  # noqa: E501
    launcher: str = setting("study", "str", "local", "who trains the cells: this machine, Slurm (with submitit) or a Ray cluster", choices=LAUNCHERS)  # noqa: E501
    launcher_options: str = setting("study", "str", "", "for Slurm submitit's parameters, such as slurm_partition=gpu,gpus_per_node=1; for Ray a task's, and address=")  # noqa: E501
    # fmt: on
