"""The page about a run that can be sent to others: one HTML file with everything in it."""
