"""Repositories that plain borg made: taken in, looked at again, taken over."""
