"""Python imports this at start-up in every process that the campaign starts: it confines the process's writes."""

import os

import write_guard

if folder := os.environ.get(write_guard.VARIABLE):
    write_guard.confine(folder)
