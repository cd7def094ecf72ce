"""The recovery kit: what plain borg, and Borgfleet after a loss of all of it, need to open every repository."""
