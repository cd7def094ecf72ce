"""The stats service: how servers fare, thresholds, and the metrics that come from the database."""
