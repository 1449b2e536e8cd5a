import stat
import threading
from pathlib import Path

import pytest

from guard.errors import InputError
from serving.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LETHE_{name.upper()}", raising=False)
    monkeypatch.delenv("LETHE_CONFIG", raising=False)


def test_environment_wins_over_file_and_arguments_win_over_both(tmp_path, monkeypatch):
    Path("lethe.toml").write_text('refusal = "file"\nneutral = "file"\npoll_seconds = 2\n')
    monkeypatch.setenv("LETHE_NEUTRAL", "environment")
    monkeypatch.setenv("LETHE_POLL_SECONDS", "3")
    settings = read_settings(poll_seconds=4)
    assert (settings.refusal, settings.neutral, settings.poll_seconds) == ("file", "environment", 4)


def test_config_variable_names_another_file(tmp_path, monkeypatch):
    (tmp_path / "other.toml").write_text("disclose = false\n")
    monkeypatch.setenv("LETHE_CONFIG", str(tmp_path / "other.toml"))
    assert read_settings().forms.disclose is False
    monkeypatch.setenv("LETHE_CONFIG", "nowhere.toml")
    with pytest.raises(InputError, match=r"'nowhere.toml'"):
        read_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("refusel = 'x'\n", "unknown setting 'refusel'"),
        ("poll_seconds = 0\n", "setting 'poll_seconds'"),
        ("refusal = ''\n", "setting 'refusal'"),
        ("refusal = \n", "lethe.toml cannot be read"),
    ],
)
def test_bad_file_is_one_sentence(text, said):
    Path("lethe.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_settings()


def test_database_defaults_to_a_file_in_home(tmp_path):
    settings = read_settings(home=tmp_path / "h")
    assert settings.database_url == f"sqlite:///{tmp_path}/h/lethe.db"
    assert read_settings(database="postgresql+psycopg://x/y").database_url == "postgresql+psycopg://x/y"


def test_admin_key_is_made_once_and_readable_by_the_owner_only(tmp_path):
    settings = read_settings(home=tmp_path / "h")
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(settings.read_admin_key())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 32
    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600
    assert read_settings(home=tmp_path / "h").read_admin_key() == keys[0]


def test_given_admin_key_is_used_hidden_and_never_written(tmp_path, monkeypatch):
    monkeypatch.setenv("LETHE_ADMIN_KEY", "given-key")
    settings = read_settings(home=tmp_path / "h")
    assert settings.read_admin_key() == "given-key"
    assert "given-key" not in repr(settings)
    assert not settings.key_file.exists()


def test_empty_admin_key_is_refused(tmp_path, monkeypatch):
    settings = read_settings(home=tmp_path)
    settings.key_file.write_text("\n")
    with pytest.raises(InputError, match="empty"):
        settings.read_admin_key()
    with pytest.raises(InputError, match="empty"):
        read_settings(admin_key=" ").read_admin_key()
