"""This node: its pools, its repositories through its own borg, and the endpoint that servers write to."""
