"""What processes started by the campaign import first: a guard that stops writes outside the campaign's folder."""
