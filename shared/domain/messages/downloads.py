"""Messages: downloads out of backups."""

from __future__ import annotations

from shared.domain.message import Message

TRANSFERS_BUSY = Message(
    "transfers_busy",
    429,
    "{most} downloads from the backup node {node} are under way, and it serves no more at once",
    "wait until one has ended, then try again",
)
TRANSFER_ABANDONED = Message(
    "transfer_abandoned",
    503,
    "nobody asked for more of this download for {seconds:.0f} seconds, and it was given up",
    "download it again; whoever downloads has to read on",
)
TRANSFER_UNKNOWN = Message(
    "transfer_unknown", 410, "the backup node knows no such transfer, or not this part of it", "download it again"
)
TRANSFER_GARBLED = Message(
    "transfer_garbled",
    502,
    "what arrived of this download is not what the backup node {node} sent: {what}",
    "download it again; if it stays, look at the bus",
)
DOWNLOAD_UNKNOWN = Message("download_unknown", 404, "there is no such download", "ask for a new link")
DOWNLOAD_USED = Message("download_used", 410, "this link was used already: it works once", "ask for a new link")
DOWNLOAD_EXPIRED = Message(
    "download_expired",
    410,
    "this link is over: it works for {seconds:.0f} seconds after it was asked for",
    "ask for a new link",
)
DOWNLOAD_OF_ANOTHER = Message(
    "download_of_another", 403, "this link was made for somebody else", "ask for a link of your own"
)
PATH_IS_NO_FILE = Message(
    "path_no_file", 422, "{path} is no regular file in this backup", "download it as `tar.zst`, `tar` or `zip`"
)
NO_PREVIEW = Message(
    "no_preview", 415, "this is neither text nor a PNG, JPEG, WebP or GIF image", "download the file instead"
)
PREVIEW_TOO_LARGE = Message(
    "preview_too_large",
    413,
    "an image of more than {most} MiB is not shown",
    "download the file instead",
)
HTTP_TOO_OLD = Message(
    "http_too_old",
    505,
    "over HTTP/1.0 a download that breaks off would look whole",
    "use HTTP/1.1; nginx in between: proxy_http_version 1.1",
)
VIEW_UNREADABLE = Message(
    "view_unreadable",
    400,
    "a view of {repository} cannot be read: {error}",
    "run a check of the repository; it tells what is damaged",
)
