"""A passphrase is held against keys that real borgs made: 1.2.4 with repokey, 1.4.5 with repokey-blake2."""

from __future__ import annotations

import pytest

from shared.secrets.borg_key import opens

PASSPHRASE = "canary: käse"
KEYS = {
    "repokey": """\
BORG_KEY a1e9e1b3b59f480544efab46116b91386badad1301de6728f74aa4ae6f878696
hqlhbGdvcml0aG2mc2hhMjU2pGRhdGHaAN4JGJjL5CzurvbuZZPifAxDphMFKAotK/Rp2f
OUw1Bu4mLPZW5eoOEsVKE0PfZjj7AAugw3EE7rhMHdibeX/6k5Ytn9RBZb3JLhBFjn5+4E
dZFGc49xx1cPt8RlGG2JS9pxyTxK0U8b7WND7TgxYq5myuj7/k7jHvOvqeVTE80y9mwMtC
6w4nTrNyYCq7Q/3399L/khS4jwYDNold62FKrEO4CpwGBW5Ac2ScyFlOzUCS2RTue8xx8x
iOWp6XvvB9IErk9Qdr1eIIsMdVMWKNQtZWXlZvZZlwFbH62YstCkaGFzaNoAIIupyPDE8m
WqtmdEaUSSqmq/BkYfrDQCpwH5JyYEZrUgqml0ZXJhdGlvbnPOAAGGoKRzYWx02gAgQikJ
08nC2zg0rcixuaGF3LUbBP/vADSyGCOcVH5s2EendmVyc2lvbgE=
""",
    "repokey-blake2": """\
BORG_KEY 081e04d88276487668d0f3bc40dba1f1374ecc511f03a108726eda6f610085a3
hqlhbGdvcml0aG2mc2hhMjU2pGRhdGHaAZ7YKOPl4ZDMDzQD35/3NRKC0+8YICTCmXNwEm
obTqhr771q+wziQ1ZUV18AXOiANLLwHfpjP0j2ALIYInl5uu0j5LdckYFBmBKrVPx48ct2
fdivKTCBT4xGTtc7RDoySt3enexWg9pST9/RYj+rQy06LansbQugyka62g8zD03+pA2LIp
4F/gMU+g7Foz+baBSGFDwP1hdF3lKUXdEndwkATkQZSUap7HiLo31o8nzTC9o89mBzs/+E
CedQFwlahelF20AKVa+UmAa9FGmG/hqDiiA42XYgvqy/Gsv7+Nbv7n4Aqn4uMzwYXxTuXR
XIjZeZQIxRlTqQlflls5bXEth7iCKQMp9YP/uk1wHMoWtG/HZTk9GAU7iJqdXDMHtG8S7S
6auW0mEn61gfW/vHpnGAXZRp/s4NqZxIXW89NHdP/JI1KWYYMGY37l6mdt3MD98kF1oesr
Bg1+ABE1QJAeTSvAHCVNQx5ZiMqbaY/T8WWTBMLDmKdmQFqr9sAWFp0BAPZu7Gfh0V2D3S
zYFTicg8kHT6SEZF12tXR4ayW6SkaGFzaNoAIB2XlvwmFKQvI1fhgcb7JPQpOqQ8td5f8L
DTRCu0OiT6qml0ZXJhdGlvbnPOAAGGoKRzYWx02gAgPNiZqYsAl5oNpUVCMRNTWbWftJI/
9Mmm/iGKkQzmECqndmVyc2lvbgE=
""",
}


@pytest.mark.parametrize("name", KEYS)
def test_the_right_passphrase_opens_a_key_and_no_other_does(name: str) -> None:
    assert opens(PASSPHRASE, KEYS[name]) is True
    for wrong in ("", "canary: kase", f"{PASSPHRASE} ", "x" * 1000, "\udcff"):
        assert opens(wrong, KEYS[name]) is False


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_paper_opens_however_its_lines_are_broken(name: str) -> None:
    head, *lines = KEYS[name].split("\n")
    data = "".join(lines)
    assert opens(PASSPHRASE, f"{head}\n{data}") is True
    assert opens(PASSPHRASE, "\n".join([head, *(data[at : at + 20] for at in range(0, len(data), 20)), "", ""])) is True


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "", lambda key: key.removeprefix("BORG_KEY "), lambda key: key.split("\n")[0], lambda key: key[:200],
        lambda key: key[:-30], lambda key: f"{key.split(chr(10))[0]}\nhqlh", lambda _: "BORG_KEY x\n\udcff",
        lambda _: f"BORG_KEY x\n{'A' * 5000}", lambda _: f"BORG_KEY x\n{'/' * 400}", lambda _: "BORG_KEY x\nqWFsZ29yaXRobQ==",
        lambda key: key.replace("hqlh", "gqlh"), lambda key: key.replace("2mc2hhMjU2", "2mc2hhMjU3"),
    ],
)  # fmt: skip
def test_of_a_key_that_is_none_nothing_is_said_and_nothing_breaks(damage: object) -> None:
    assert callable(damage)
    assert opens(PASSPHRASE, damage(KEYS["repokey"])) is None


def test_a_bit_that_fell_is_no_key_that_this_passphrase_opens() -> None:
    key = KEYS["repokey"]
    for at in range(80, len(key) - 3, 7):
        changed = key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1 :]
        assert key[at] == "\n" or opens(PASSPHRASE, changed) is not True, at
