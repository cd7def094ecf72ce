"""Tells people and programs, by webhook or by whatever Apprise knows, from a child process kept in bounds."""
