"""Messages: the recovery kit, and the way back of Borgfleet itself."""

from __future__ import annotations

from shared.domain.message import Message

KIT_NO_RECIPIENT = Message(
    "kit_no_recipient",
    422,
    "nobody is named who could open the recovery kit",
    "give public keys of age (`age-keygen` makes them), or a passphrase",
)
KIT_RECIPIENT_INVALID = Message(
    "kit_recipient_invalid",
    422,
    "this is no public key of age: {recipient}",
    "give one as `age-keygen` prints it, beginning with age1, or an ssh-ed25519 or ssh-rsa public key",
)
KIT_PASSPHRASE_SHORT = Message(
    "kit_passphrase_short",
    422,
    "a recovery kit's passphrase has at least {least} characters",
    "choose a longer one: whoever opens the kit has the passphrases of all repositories",
)
KIT_PASSPHRASE_WRONG = Message(
    "kit_not_opened",
    422,
    "the passphrase does not open this recovery kit, or the file was altered or cut short",
    "give the passphrase that the kit was made with, or take another copy of it",
    "passphrase",
)
KIT_NOT_FOR_KEY = Message(
    "kit_not_opened",
    422,
    "the private key does not open this recovery kit, or the file was altered or cut short",
    "give the file with the private key of one of those that the kit was made for, or take another copy of the kit",
    "key",
)
KIT_SEALED_PASSPHRASE = Message(
    "kit_sealed",
    422,
    "this recovery kit is encrypted with a passphrase",
    "name a file that holds it: --passphrase-file",
    "passphrase",
)
KIT_SEALED_IDENTITY = Message(
    "kit_sealed",
    422,
    "this recovery kit is encrypted for a public key",
    "name the file that holds the private key: --identity",
    "key",
)
KIT_BROKEN = Message(
    "kit_broken",
    422,
    "this is no whole recovery kit: {problem}",
    "give a file that `borgfleet recovery-kit export` made, as it made it",
)
KIT_EXISTS = Message(
    "kit_exists",
    409,
    "{path} exists already",
    "give another name, or --overwrite; keep an older kit as long as you may need it",
)
KIT_UNWRITABLE = Message(
    "kit_unwritable",
    400,
    "the recovery kit cannot be written to {path}: {error}; nothing was left there",
    "make room, or name a place that this user may write to",
)
