"""The gateway's restore tests and what they prove."""
