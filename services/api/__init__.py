"""The gateway: REST over the same database, and the only place that knows HTTP."""
