from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.config.settings import Settings


def test_the_environment_wins_over_the_file_and_nests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    file.write_text("[worker]\nack_wait = 12.0\n[api]\nport = 1\n")
    monkeypatch.setenv("BORGFLEET_CONFIG", str(file))
    monkeypatch.setenv("BORGFLEET_API__PORT", "2")
    settings = Settings()
    assert (settings.api.port, settings.worker.ack_wait, settings.worker.lease) == (2, 12.0, 10.0)


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORGFLEET_API__PROT", "2")
    with pytest.raises(ValidationError):
        Settings()


def test_the_password_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("canary@:/\n")
    (tmp_path / "p").chmod(0o600)
    settings = Settings.model_validate(
        {"data_dir": tmp_path, "database": {"url": "mariadb+aiomysql://u@h/d", "password_file": tmp_path / "p"}}
    )
    assert "canary%40%3A%2F" in settings.database_url()
    assert "canary" not in json.dumps(settings.redacted())
    assert "canary" not in repr(settings)


def test_without_a_url_it_is_sqlite_in_the_data_directory(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).database_url() == f"sqlite+aiosqlite:///{tmp_path}/borgfleet.db"
    assert Settings(data_dir=tmp_path).master_key_path == tmp_path / "master.key"


@pytest.mark.parametrize(("given", "servers"), [
    ("nats://a:4222", ("nats://a:4222",)), ("nats://a:1, nats://b:2,", ("nats://a:1", "nats://b:2")),
    ("tls://a:1,tls://b:2", ("tls://a:1", "tls://b:2")),
])  # fmt: skip
def test_the_servers_of_a_cluster_are_told_with_commas(
    monkeypatch: pytest.MonkeyPatch, given: str, servers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BORGFLEET_NATS__URLS", given)
    monkeypatch.setenv("BORGFLEET_NATS__URL", "nats://unused:1")
    assert Settings().nats.servers == servers


@pytest.mark.parametrize("given", [
    {"url": "nats://a:1,nats://b:2"}, {"url": "a:4222"}, {"url": "http://a:4222"}, {"urls": ["nats://a", "tls://b"]},
    {"url": "nats://a:1", "ca_file": "/ca"}, {"url": "tls://a:1", "cert_file": "/c"}, {"url": "tls://a", "key_file": "/k"},
])  # fmt: skip
def test_a_bus_that_would_be_spoken_to_in_the_clear_or_nowhere_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"nats": given})


def test_a_password_in_any_of_the_urls_is_never_shown() -> None:
    settings = Settings.model_validate({"nats": {"urls": ["nats://u:canary@a:1", "nats://v:canary@b:1"]}})
    assert "canary" not in json.dumps(settings.redacted())


def numbers() -> list[str]:
    """Return every setting that is a number, as its variable is named."""
    groups = {name: field.annotation for name, field in Settings.model_fields.items()}
    return [
        f"BORGFLEET_{group.upper()}__{name.upper()}"
        for group, kind in groups.items()
        for name, field in getattr(kind, "model_fields", {}).items()
        if field.annotation in (int, float, int | None, float | None)
    ]


def test_the_numbers_among_the_settings_are_found() -> None:
    assert len(numbers()) > 35


def test_no_bound_of_a_setting_hides_another() -> None:
    """Of two limits of one kind only the last one is held: the longest `ack_wait` was a year."""
    twice = {
        f"{group}.{name}": kinds
        for group, kind in Settings.model_fields.items()
        for name, field in getattr(kind.annotation, "model_fields", {}).items()
        if len(kinds := [type(one).__name__ for one in field.metadata]) > len(set(kinds))
    }
    assert twice == {}


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "1e400", "1e300", "-1", "9" * 30, "1" + "0" * 5000, "true", "", "٣"]
)
@pytest.mark.parametrize("variable", numbers())
def test_a_number_that_no_clock_no_calendar_and_no_machine_has_is_refused_where_it_is_set(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Kept for 1e300 days, jobs ended housekeeping each time; a session of infinite days made each login a 500."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize("variable", [one for one in numbers() if one.endswith("_DAYS")])
def test_a_hundred_years_are_taken_for_ever(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "36500")
    group, name = variable.removeprefix("BORGFLEET_").lower().split("__")
    assert getattr(getattr(Settings(), group), name) == 36_500
