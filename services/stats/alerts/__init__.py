"""From figures to incidents to messages for people."""
