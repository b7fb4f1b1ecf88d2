"""The ablate screen: ablation studies.

screen                        views and keys
study_list, study_view        all studies; the open study
effects_view, editor          effects of the open study; the plan of a new one
reader, draft                 data of the widgets, read and computed in threads
columns, series_numbers       rows of the tables, and colours of the curves
actions                       pause, resume, stop, report, start
"""
