"""Messages: the message bus."""

from __future__ import annotations

from shared.domain.message import Message

BUS_NOBODY = Message(
    "bus_nobody",
    503,
    "nobody answers {subject}",
    "see whether the service that answers it runs, and its log; it may be starting",
)
BUS_UNANSWERED = Message(
    "bus_timeout",
    503,
    "{subject} was not answered within {seconds:g} seconds",
    "see the log of the service that answers it; ask again",
)
REQUEST_SUBJECT_INVALID = Message(
    "request_subject_invalid", 400, "{subject} is no subject for requests", "use one that begins with `{prefix}`"
)
REQUEST_DEADLINE_INVALID = Message(
    "request_deadline_invalid",
    400,
    "an answer within {seconds} seconds cannot be asked for",
    "give more than 0 and up to {most:g}",
)
BUS_ANSWER_UNREADABLE = Message(
    "bus_answer_unreadable",
    400,
    "the answer to {subject} cannot be read",
    "see that all services have the same version",
)
INTERNAL_ANSWER = Message(
    "internal",
    500,
    "a fault of whoever answers this; its words are in that service's log",
    "see that log; report it",
    "answer",
)
BUS_BUSY = Message("bus_busy", 503, "whoever answers {subject} answers {most} requests already", "ask again")
BUS_BUSY_BROKEN_OFF = Message("bus_busy", 503, "the answer to {subject} was broken off", "ask again", "broken_off")
BUS_TIMEOUT = Message(
    "bus_timeout",
    503,
    "the message bus did not answer in time",
    "see whether nats-server runs and what its log says; Borgfleet tries again by itself",
    "exit",
)
STREAM_FULL = Message(
    "stream_full",
    503,
    "the stream takes no more: {description}",
    "see what fills it: whether its workers run, and the disk and the limits of nats-server",
)
BUS_REFUSED = Message("bus_refused", 400, "the message bus refuses this: {description}", "see the log of nats-server")
BUS_GONE = Message(
    "bus_gone",
    503,
    "the stream or its consumer is not there: {error}",
    "run `borgfleet migrate`, which makes the streams; a running scheduler makes them by itself",
)
BUS_UNREACHABLE = Message(
    "bus_unreachable",
    503,
    "the message bus cannot be reached: {error}",
    "see whether nats-server runs and what its log says; Borgfleet tries again by itself",
)
BUS_NO_STREAM = Message(
    "bus_no_stream", 503, "no stream takes {subject}", "make the streams first, with `ensure_streams`"
)
BUS_NO_STREAM_CONSUMER = Message(
    "bus_no_stream", 503, "no stream {stream}", "make the streams first, with `ensure_streams`", "consumer"
)
BUS_UNREACHABLE_UNPLUGGED = Message(
    "bus_unreachable", 503, "the message bus does not answer", "plug it in again: a test pulled it", "unplugged"
)
MESSAGE_TOO_LARGE = Message(
    "message_too_large",
    400,
    "the message is larger than nats-server takes",
    "raise `max_payload` of nats-server, or publish less at once",
)
MESSAGE_SUBJECT_INVALID = Message(
    "message_subject_invalid",
    400,
    "{subject} is not a subject that can be published to",
    "use words joined by dots, without wildcards",
)
BUS_UNREACHABLE_MONITOR = Message(
    "bus_unreachable",
    503,
    "nats-server's monitoring port does not answer: {told}",
    "set BORGFLEET_NATS__MONITOR_URL to nats-server's `http` port, and see that it listens there",
    "monitor",
)
NATS_TOO_OLD = Message("nats_too_old", 400, "nats-server {version} is too old", "run nats-server 2.11 or newer")
NATS_SEED_INVALID = Message(
    "nats_seed_invalid",
    400,
    "the NATS seed file {path} holds no seed",
    "put the seed of this service's user there: one line that begins with SU",
)
BUS_UNREACHABLE_SERVERS = Message(
    "bus_unreachable",
    503,
    "no nats-server answers at {where}[: {error}]",
    "start nats-server, or set BORGFLEET_NATS__URL; see that it knows this user, and its certificate",
    "servers",
)
NATS_NOT_DURABLE = Message(
    "nats_not_durable",
    400,
    "nats-server acknowledges messages before they are on disk: {servers}",
    "set `jetstream {{ sync_interval: always }}` in nats-server's configuration",
)
BUS_BUSY_STOPPING = Message("bus_busy", 503, "whoever answers {subject} is stopping", "ask again", "stopping")
STREAM_OF_ANOTHER_KIND = Message(
    "stream_of_another_kind",
    409,
    "the stream {stream} has {what} {now}, and {wanted} is needed; nats-server changes that for none that exists",
    "stop all services, wait until no message is in it, remove it with `nats stream rm {stream}`, and run "
    "`borgfleet migrate`: the scheduler publishes again what was not taken",
)
STREAM_WITHOUT_ROOM = Message(
    "stream_without_room",
    409,
    "nats-server has no room for the stream {stream} with {replicas} replicas: {description}",
    "start as many nats-servers in the cluster as BORGFLEET_NATS__REPLICAS says, with room in `max_file_store`; or set "
    "fewer replicas",
)
STREAM_NOT_CURRENT = Message(
    "stream_not_current",
    503,
    "not all replicas of the stream {stream} hold its messages after {seconds:g} seconds: {behind}",
    "see that each nats-server of the cluster runs and what its log says, then run `borgfleet migrate` again",
)
BUS_FORGETS = Message(
    "bus_forgets",
    503,
    "the message bus took a message on {subject} and does not have it",
    "see the logs of all nats-servers; `borgfleet doctor` tells which replicas are behind",
)
