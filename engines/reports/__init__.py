"""HTML reports of runs and studies, with plots as SVG and PNG.

document      a whole report                       report_files  the files that it is written to
run_report, comparison_report, study_report        the sections of each kind of report
run_plots, study_plots                             the contents of their plots
plot          plot data and scales                 downsampling  a million steps as a few hundred bins
plot_svg, interval_svg                             plots and confidence intervals as SVG
page, markup  HTML                                 colours
"""
