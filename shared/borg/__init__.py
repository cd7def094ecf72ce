"""borg: argv, environment, output and exit codes; and running it on a backup node."""
