"""The command line: verbs that run Borgfleet, and verbs that use its API."""
