"""Ablation studies. Light to import: no torch.

plan, cells, settings, study_file    which runs a study makes
study                                the study's directory
queue, schedule                      the process that trains the cells as ordinary runs, and its order of runs
launchers, slots, worker_pool        where runs train: processes of this machine, Slurm or Ray
progress                             status of the runs and ETA, from the study's events
results, statistics, analysis, effects    results of the runs, and their comparison with the base
tables, markdown, formatting         reports
"""
