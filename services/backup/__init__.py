"""The backup service: everything that runs borg on a repository."""
