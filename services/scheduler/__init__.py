"""The scheduler service: recovery of jobs whose worker died or whose message is gone."""
