"""Messages: four eyes."""

from shared.domain.message import Message

APPROVAL_ASKER_GONE = Message(
    "approval_asker_gone",
    403,
    "{name}, who asked for this, may not do it any more",
    "who still may asks for it again",
)
APPROVAL_BY_TOKEN = Message(
    "approval_by_token",
    403,
    "an API token cannot agree to what another one asked for: a person does",
    "log in to the web page with your name and your second factor, and agree there",
)
APPROVAL_DECIDED = Message(
    "approval_decided", 409, "this is {state} already", "`borgfleet approval show ID` says by whom; ask for it again"
)
APPROVAL_DECIDER_GONE = Message(
    "approval_decider_gone",
    403,
    "{name}, who agreed to this, may not agree any more",
    "ask for it again, and let another person agree",
)
APPROVAL_HOLD_CHANGED = Message(
    "changed_meanwhile",
    412,
    "the hold is not the one any more that was to be released",
    "look at the backup, and ask for it again if it is still wanted",
    "hold",
)
APPROVAL_NEEDS_FACTOR = Message(
    "approval_needs_factor",
    403,
    "who agrees to what another one asked for needs a second factor, and {name} has none",
    "set one up on the profile page",
)
APPROVAL_NOT_YOURS = Message(
    "approval_not_yours", 403, "only who asked for this can withdraw it", "reject it, if you may decide"
)
APPROVAL_FREEZE_CHANGED = Message(
    "changed_meanwhile",
    412,
    "the repository is not frozen for the same reasons any more",
    "look at why it is frozen now, and ask for it again if it is still wanted",
    "freeze",
)
APPROVAL_OF_NOBODY = Message(
    "approval_of_nobody",
    403,
    "four eyes are on, and this token belongs to no user: nobody could tell whether another person agrees",
    "ask with a token of a user, or on the web page",
)
APPROVAL_RESTORE_CHANGED = Message(
    "changed_meanwhile",
    412,
    "the database was restored once more since this was asked for",
    "see what has to be set again, and ask for it again",
    "restore",
)
APPROVAL_OWN = Message(
    "approval_own",
    403,
    "{name} asked for this, and another person has to decide",
    "wait for another administrator, or withdraw it",
)
APPROVAL_UNKNOWN = Message(
    "approval_unknown",
    409,
    "this version cannot do what was asked for",
    "ask for it again, or use the version that it was asked with",
)
FOUR_EYES_NEEDS_TWO = Message(
    "four_eyes_needs_two",
    409,
    "four eyes need two administrators of the fleet with a second factor, and there are {count}",
    "let a second administrator set up a second factor on the profile page",
)
FOUR_EYES_PASSED_BY = Message(
    "four_eyes_passed_by",
    409,
    "four eyes are on, and this passes the second person by",
    "let another administrator agree on the web page, or say why with --break-glass: the audit log keeps it",
)
