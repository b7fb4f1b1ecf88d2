"""Export of runs to other tools.

export   writes a run into a folder of its own       series   the values of a run, step by step
tables, tensorboard_files, wandb_files               the files of each format
"""
