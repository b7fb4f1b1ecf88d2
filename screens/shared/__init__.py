"""Everything that more than one feature uses: actions on runs, curves, the settings form, formatting, threads."""
