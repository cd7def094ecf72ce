"""Messages: who asks, how he proves it, and what he may change of accounts."""

from __future__ import annotations

from shared.domain.message import Message

_ASK_WIDER = "ask an administrator whose own rights are wider"
_OTHER_PASSWORD = "choose another one, as four or more words that do not belong together"  # noqa: S105 - for people

ALREADY_SET_UP = Message(
    "already_set_up",
    409,
    "this fleet has an administrator already",
    "log in, or ask an administrator for an invitation",
)
CSRF = Message(
    "csrf",
    403,
    "this request was sent by a page of another site",
    "use Borgfleet's own pages, or a token; behind a proxy set BORGFLEET_API__PUBLIC_URL",
)
FACTOR_NEEDED = Message(
    "second_factor_needed",
    401,
    "the password is right, and this account asks for a second factor too",
    "give the six digits of your app, or a recovery code: POST /api/auth/second-factor",
)
FACTOR_NEEDED_TOO = Message(
    "second_factor_needed",
    401,
    "the password alone does not prove it: this account has a second factor",
    "give the six digits of your app as `code`, or a `recovery_code`, together with the password",
    "with_password",
)
FACTOR_NONE = Message(
    "no_second_factor", 409, "this account has no second factor", "set one up first: POST /api/auth/totp"
)
FACTOR_NOT_BEGUN = Message(
    "no_second_factor",
    409,
    "there is no second factor to confirm",
    "begin with POST /api/auth/totp, and add its secret to your app",
    "not_begun",
)
FACTOR_ON = Message(
    "second_factor_on",
    409,
    "this account has a second factor already",
    "remove it first: DELETE /api/auth/totp",
)
FACTOR_REQUIRED = Message(
    "second_factor_required",
    403,
    "{name} has to set up a second factor before anything else",
    "set it up on the profile page, or with POST /api/auth/totp",
)
FACTORS_OWN = Message(
    "own_second_factor",
    403,
    "nobody takes his own second factor away as an administrator",
    "remove it on your profile page, which asks for your password and a code; who has lost them asks another "
    "administrator, or uses `borgfleet user reset-factors` on the machine",
)
FLOW_OVER = Message(
    "login_over",
    401,
    "this login is over: it took more than ten minutes, had too many wrong codes, or was finished",
    "log in again with name and password",
)
LAST_ADMIN = Message(
    "last_admin",
    409,
    "this is the last active administrator of the fleet",
    "make another person an administrator first",
)
LINK_CLOSED = Message("link_expired", 410, "the account of this link is closed", "ask an administrator", "closed")
LINK_EXPIRED = Message(
    "link_expired",
    410,
    "this link is unknown, or its time is over",
    "ask for a new one; `borgfleet setup-link` makes a first one",
)
LINK_USED = Message("link_used", 410, "this link was used before", "ask for a new one")
MORE_THAN_OWN = Message("more_than_own", 403, "{name} cannot give rights that it does not have itself", _ASK_WIDER)
USER_ABOVE = Message("more_than_own", 403, "this user may more than {name}", _ASK_WIDER, "user")
NO_LOGIN_CLOSED = Message("no_login", 409, "{name} is disabled", "enable this user first", "closed")
NO_LOGIN_SERVICE = Message(
    "no_login",
    409,
    "{name} is a service, which has no password",
    "make a token for it: `borgfleet token add`",
    "service",
)
NO_SESSION = Message(
    "no_session", 409, "this is for a person who is logged in, and a token asks", "log in with a browser"
)
NOT_ENCRYPTED = Message(
    "not_encrypted",
    403,
    "a password and a session could be read on their way here: this connection is not encrypted",
    "put a proxy with TLS before Borgfleet and set BORGFLEET_API__PUBLIC_URL to its https:// URL, or come by "
    "http://127.0.0.1 through an SSH tunnel",
)
PASSWORD_COMMON = Message(
    "password_common",
    422,
    "the password is among the first that are tried: a common one, a repetition or a row of keys",
    _OTHER_PASSWORD,
)
PASSWORD_IS_NAME = Message("password_is_name", 422, "the password is made of the user's name", _OTHER_PASSWORD)
PASSWORD_LENGTH = Message("password_length", 422, "a password has {shortest} to {longest} characters", _OTHER_PASSWORD)
PROOF_ONE = Message(
    "one_code",
    422,
    "a second factor is either `code` or `recovery_code`",
    "give one of them: the six digits of your app, or a recovery code",
)
REAUTHENTICATE = Message(
    "reauthenticate",
    401,
    "this changes accounts or secrets, and it is over ten minutes that you proved who you are",
    "give your password again, and a code if you have a second factor: POST /api/auth/step-up",
)
SESSION_OVER = Message("session_over", 401, "this session is over", "log in again")
TAG_UNKNOWN = Message("tag_unknown", 404, "there is no tag {names}", "GET /api/tags lists them; nothing was changed")
THROTTLED = Message(
    "throttled",
    429,
    "too many failed logins: the next try is taken in {seconds} seconds",
    "wait; who forgot a password asks an administrator, who has `borgfleet user reset-password`",
)
TOKEN_OR_SESSION = Message(
    "unauthenticated",
    401,
    "this path needs a token or a session",
    "send `Authorization: Bearer <token>`, or log in",
    "nobody",
)
USER_UNKNOWN = Message("user_unknown", 404, "there is no user named {name}", "`borgfleet user list` shows who there is")
WRONG_CODE = Message(
    "wrong_code",
    401,
    "the code is wrong, or was used before",
    "wait for the next code of your app, and see that the phone's clock is right; or use a recovery code",
)
WRONG_CODE_OF_APP = Message(
    "wrong_code",
    422,
    "the code is not the one of this secret",
    "type the code that your app shows now, and see that the phone's clock is right",
    "unconfirmed",
)
WRONG_CREDENTIALS = Message(
    "wrong_credentials", 401, "the name or the password is wrong", "try again, or ask an administrator for a link"
)
