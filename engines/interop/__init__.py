"""Runs for other tools.

export   a folder that is there whole or not at all        series   what a run has to tell, step by step
tables, tensorboard_files, wandb_files: what is written in it
"""
