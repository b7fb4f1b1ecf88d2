"""The ablate screen: ablation studies.

screen                               views and keys
study_list, study_view, effects_view, editor    the widgets: all studies, the open study, its effects, a new plan
reader, draft                        data of the widgets, read and computed in threads
columns, series_numbers      rows of the tables, and colours of the curves
actions                              pause, resume, stop, report, start
"""
