"""The contracts of the message bus: one frozen model an event, streams as data."""
