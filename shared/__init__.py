"""What every service stands on: contracts, schema, message kernel, SSH and borg adapters."""
