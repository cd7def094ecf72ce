"""The page of a recovery kit that people follow word by word: each line after `$ ` is a command, in order."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from shared.domain.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.kit.contents import Kit, KitRepository

_CONFIG = """[repository]
version = 1
segments_per_dir = 1000
max_segment_size = 524288000
append_only = 0
storage_quota = 0
additional_free_space = 0
id = {id}

"""
"""As every borg from 1.1 to 1.4 makes it, but for the key."""

_TEXT = """RECOVERY KIT OF BORGFLEET

Made {made_at} by Borgfleet {version}. It opens {count} repositories.

Whoever has this kit can read all backups. Keep it encrypted, away from the machines that it is for, and test it:
`borgfleet recovery-kit test FILE`. Make a new one after each new repository.

What follows needs borg 1.2 or newer, age, sh and tar, and nothing of Borgfleet. Each line that begins with a dollar
sign is a command: type what follows the sign, in this order, in one shell, as the user who owns the repositories.


1. OPEN THE KIT

The encrypted kit is the file kit.age. If it was made for a public key, the private key is the file identity.txt:

$ age -d -i identity.txt -o kit.tar kit.age

If it was made with a passphrase, instead: age -d -o kit.tar kit.age
If you read this, and there is no kit.age, you have done this step already, or the kit is not encrypted.

$ tar -xf kit.tar
$ cd borgfleet-kit


2. CHOOSE THE REPOSITORY

Type the one line below its name. If its disk is mounted in another place now, write that place after REPOSITORY=.

{repositories}

3. GIVE BORG ITS PASSPHRASE

$ export BORG_PASSCOMMAND="cat '$PWD/passphrases/$ID'"
$ export BORG_BASE_DIR="$PWD/borg"
$ borg list "$REPOSITORY"

If that lists the backups, go on with step 5.


4. ONLY IF THE LIST FAILED

If the file `config` in the repository is gone, empty or not readable ("not a valid repository"), put a new one there:

{step_config}

If the key is gone ("no key", "repokey") or the passphrase is said to be wrong, somebody changed the key. After a new
`config` too, put back the key of this kit. What is there is kept as config.before:

{step_key}

$ borg list "$REPOSITORY"

If it fails still, the repository itself is damaged: borg check --help.


5. GET FILES BACK

The newest backup is taken here; write another name of the list after ARCHIVE= if you want that one.

$ ARCHIVE=$(borg list --short --last 1 "$REPOSITORY")
$ mkdir ../restored
$ cd ../restored
$ borg extract "$REPOSITORY::$ARCHIVE"

All files are in the directory `restored` now, under their former paths. For some of them only, add their paths without
the first slash: borg extract "$REPOSITORY::$ARCHIVE" etc/passwd


6. ALL REPOSITORIES AT ONCE

`sh verify.sh` in the directory borgfleet-kit says of each repository that is on this machine whether this kit opens it.


7. BORGFLEET ITSELF

{itself}
"""
_STEP_CONFIG = '$ cp "config.templates/$ID" "$REPOSITORY/config"'
_STEP_KEY = '$ cp -p "$REPOSITORY/config" config.before\n$ borg key import "$REPOSITORY" "keys/$ID.key"'
_ITSELF = """{where} On a new machine with Borgfleet installed:

{commands}

It makes the database and the master key anew. See "Restore Borgfleet itself" in its documentation."""
_RECOVER = "    borgfleet recover --kit kit.age --identity identity.txt --repository {path}"
_ONE_PLACE = "Its database is backed up into the repository named below."
_MORE_PLACES = """Its database was backed up into each of these repositories. Take the one that is in use: its newest
backup is the newest of all (`borg list --last 1` of each, as in step 3)."""
_NOT_ITSELF = """This kit knows of no backup of Borgfleet's own database: none had been made by then. The master key in
`master.key` opens the secrets of a copy of the database that you have by other means."""


def readme(kit: Kit) -> str:
    """Return the page for one kit."""
    blocks = "\n".join(_block(one) for one in kit.repositories) or "There were none yet.\n"
    own = kit.own
    return _TEXT.format(
        made_at=kit.made_at,
        version=kit.version,
        count=len(kit.repositories),
        repositories=blocks,
        step_config=_STEP_CONFIG,
        step_key=_STEP_KEY,
        itself=_itself(own) if own else _NOT_ITSELF,
    )


def _itself(own: Sequence[KitRepository]) -> str:
    commands = "\n".join(_RECOVER.format(path=shlex.quote(one.path)) for one in own)
    return _ITSELF.format(where=_ONE_PLACE if len(own) == 1 else _MORE_PLACES, commands=commands)


def config_template(borg_id: str) -> str:
    """Return what stands in the `config` of a repository with this id, without its key."""
    return _CONFIG.format(id=borg_id)


def _block(one: KitRepository) -> str:
    lines = [f"{clean(one.label, 200)} (on node {clean(one.node, 100)})"]
    if one.problem:
        lines.append(f"    PROBLEM: {clean(one.problem, 500)}: an older kit may open it.")
    if not one.key:
        lines.append("    No key is kept for it: it has none, or it was never used by this version.")
    return "\n".join([*lines, f"$ ID={one.borg_id} REPOSITORY={shlex.quote(one.path)}", ""])
