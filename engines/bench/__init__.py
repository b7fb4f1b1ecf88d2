"""Side-by-side measurements: each module measures one thing and returns a report."""
