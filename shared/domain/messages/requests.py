"""Messages: what any request may be refused for."""

from __future__ import annotations

from shared.domain.message import Message

_SEND_JSON = "send JSON in UTF-8, as GET /api/openapi.json says"

AMBIGUOUS_HEAD = Message(
    "ambiguous_head",
    400,
    "the header {name} stands in the request more than once",
    "send it once; a proxy on the way may have added another",
)
AMBIGUOUS_LENGTH = Message(
    "ambiguous_head",
    400,
    "the request tells the length of its body in two ways, by Content-Length and by Transfer-Encoding",
    "send one of the two; a proxy on the way may have added the other",
    "length",
)
BAD_CURSOR = Message("bad_cursor", 422, "`after` is not a cursor of ours", "use `next` of the page before")
BAD_CURSOR_FILTERS = Message(
    "bad_cursor",
    422,
    "`after` belongs to a list with other filters, or in another order",
    "begin without `after`, or repeat the filters of the page before",
    "filters",
)
BAD_SPAN_OVERLAPS = Message(
    "bad_span",
    422,
    "`overlaps` is no span of time that can be asked for",
    "give two times with their zones, the first before the second and 8 days apart at most, as"
    " 2027-01-31T18:00:00Z/2027-02-01T06:00:00Z",
    "overlaps",
)
BODY_TOO_DEEP = Message(
    "body_too_deep", 400, "lists and objects in the body are nested more than {most} deep", _SEND_JSON
)
BODY_TOO_LARGE = Message(
    "body_too_large", 413, "the body of a request may hold {most} bytes at most", "send less in one request"
)
BODY_TOO_SLOW = Message(
    "body_too_slow",
    408,
    "the body of the request did not arrive within {seconds:.0f} seconds",
    "check the network between, and send the request again",
)
CHANGED_MEANWHILE = Message(
    "changed_meanwhile",
    412,
    "it was changed after you read it[, last by {changed_by}][ at {changed_at:moment}][: {fields}]",
    'read it again and look at what changed; then send your change with `If-Match: "{version}"`',
)
CHANGED_MEANWHILE_GONE = Message(
    "changed_meanwhile",
    412,
    "`If-Match` names a version of something that is not there",
    "read it again; leave `If-Match` out to make it",
    "gone",
)
FORBIDDEN_FLEET = Message(
    "forbidden",
    403,
    "{name} has the right {permission} for some servers only, and this is about the whole fleet",
    "ask an administrator for a role that is not limited to tags",
    "fleet",
)
FORBIDDEN_PERMISSION = Message(
    "forbidden",
    403,
    "{name} has no right to do this: it needs {permission}",
    "ask an administrator for a role that has this right",
)
HEAD_TOO_LARGE = Message(
    "head_too_large",
    431,
    "the head of a request, its path and headers, may hold {most} bytes at most",
    "send fewer or shorter headers and parameters",
)
IDEMPOTENCY_KEY_INVALID = Message(
    "idempotency_key_invalid",
    400,
    "the header Idempotency-Key has to be 1 to 255 printable characters of ASCII",
    "make a fresh UUID for each change, and repeat it only with the same change",
)
IDEMPOTENCY_KEY_REUSED = Message(
    "idempotency_key_reused",
    422,
    "this Idempotency-Key was used before, for another request",
    "make a fresh key for each change; repeat one only with the same method, path, `If-Match` and body",
)
IF_MATCH_MALFORMED = Message(
    "if_match_malformed",
    400,
    "the header If-Match is neither `*` nor a list of versions in double quotes",
    'send what the header `ETag` gave, with its quotes, as `If-Match: "3"`',
)
MALFORMED_JSON = Message("malformed_json", 400, "the body is no JSON: {why}", _SEND_JSON)
NOT_FOUND_NOUN = Message(
    "not_found", 404, "there is no such {noun}", "list what there is and choose one of its ids", "noun"
)
NOT_JSON = Message(
    "not_json",
    415,
    "the body is said to be {kind}; only application/json is taken",
    "send `Content-Type: application/json`",
)
NOT_MERGE_PATCH = Message(
    "not_merge_patch",
    415,
    "the body is said to be {kind}; PATCH takes a merge patch (RFC 7396)",
    "send an object of what is to change, with `Content-Type: application/merge-patch+json`",
)
PRECONDITION_REQUIRED = Message(
    "precondition_required",
    428,
    "PUT replaces the whole definition, and the request does not say which version of it",
    "send `If-Match` with the `ETag` of what you read, `*` to replace whatever there is; or change parts with PATCH",
)
TOKEN_MISSING = Message(
    "unauthenticated", 401, "this path needs a token", "send `Authorization: Bearer <token>`", "missing"
)
TOKEN_UNKNOWN = Message(
    "unauthenticated", 401, "this token is not known", "use the token that was printed at the first start", "unknown"
)
TOO_MANY_STREAMS = Message(
    "too_many_streams",
    503,
    "as many live connections are open as this gateway serves",
    "try again in a minute; what is shown is asked for every few seconds meanwhile",
)
TOO_MANY_STREAMS_OF_ONE = Message(
    "too_many_streams",
    503,
    "you have {most} live connections open, which is the most for one person",
    "close some, as windows of the web UI or programs that follow events",
    "one",
)
UNKNOWN_PARAMETER = Message(
    "unknown_parameter",
    422,
    "this path takes no parameter {names}",
    "leave it out[, or choose from: {known}]",
)
DOUBLED_PARAMETER = Message(
    "unknown_parameter", 422, "the parameter {names} is given more than once", "give it once", "doubled"
)
INVALID_FIELDS = Message("invalid", 422, "{wrong}", "correct the fields named", "fields")
NO_SUCH_PATH = Message("not_found", 404, "there is no such path", "GET /api/openapi.json lists the paths", "path")
METHOD_NOT_ALLOWED = Message(
    "method_not_allowed", 405, "this path knows no such method", "use one of those that the header `Allow` names"
)
HTTP_REFUSED = Message("refused", 400, "{why}", "send a request as GET /api/openapi.json says")
INTERNAL_UNKNOWN = Message(
    "internal",
    500,
    "the request met an error that Borgfleet does not know",
    "see the log of the api service, and report it",
    "unknown",
)
