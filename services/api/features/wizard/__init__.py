"""The gateway's wizard."""
