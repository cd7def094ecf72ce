"""The recovery kit, and the backups of Borgfleet itself."""
