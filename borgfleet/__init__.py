"""The composition root: command line, registry of services, standalone supervisor."""
