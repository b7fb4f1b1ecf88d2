"""Reports for people: a run, several side by side, or a study as one HTML file, with its plots as SVG and PNG.

markup   text into tags, safely               columns  a million steps in a few hundred columns
plot     what a plot shows                    drawing  a plot as SVG            intervals  differences as SVG
record   a run as it is read for a report     metrics  what it reached, in figures
curves   the plots of runs                    bands    the plots of a study
run_report, comparison_report, study_report: the sections of each
page     what is around the sections             document  a whole report, written     files  whole or not at all
"""
