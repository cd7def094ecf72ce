"""Messages: alerts and notifications."""

from __future__ import annotations

from shared.domain.message import Message

DELIVERY_TIMEOUT = Message(
    "delivery_timeout", 503, "not delivered within {seconds:.0f} seconds", "see whether the other side is up"
)
INVALID_THRESHOLD_SCOPE = Message(
    "invalid",
    422,
    "a threshold is for one server or for a tag, not for both",
    "leave one of `server` and `tag` out",
    "threshold_scope",
)
THRESHOLDS_CONTRADICT = Message(
    "thresholds_contradict",
    422,
    "the critical level {critical:g} of {kind} lies below its warning {warning:g}",
    "large values of {kind} are bad: exchange the two levels",
)
THRESHOLDS_CONTRADICT_SMALL = Message(
    "thresholds_contradict",
    422,
    "the critical level {critical:g} of {kind} lies above its warning {warning:g}",
    "small values of {kind} are the bad ones: exchange the two levels",
    "small",
)
ALERT_NOT_FIRING = Message("alert_not_firing", 409, "this alert is {state}", "only a firing alert can be acknowledged")
NOTIFICATION_NOT_FAILED = Message(
    "notification_not_failed", 409, "this notification is {state}", "only what failed can be tried again"
)
BAD_URL = Message(
    "bad_url", 422, "the channel's URL is none: its host cannot be read", "write it as https://hooks.example.org/path"
)
