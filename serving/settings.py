"""Every deployment setting, in one class: environment over TOML file over default."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from guard.errors import InputError
from guard.incontext import InContext
from guard.pipeline import NEUTRAL, REFUSAL, Forms
from guard.scope import ScopeConfig

CONFIG_VARIABLE = "LETHE_CONFIG"
CONFIG_FILE = "lethe.toml"


class Settings(BaseSettings):
    """Settings of a server or a command; the environment name is ``LETHE_`` and the field in capitals."""

    model_config = SettingsConfigDict(env_prefix="LETHE_", extra="forbid", frozen=True)

    home: Path = Field(Path(".lethe"), description="directory of the database, snapshots and the admin key")
    database: str | None = Field(
        None, description="URL of the target store and audit log; unset: SQLite file `lethe.db` in `home`"
    )
    admin_key: SecretStr | None = Field(
        None, description="key of the admin routes; unset: generated once into `admin.key` in `home`"
    )
    encoder: str | None = Field(
        None, description="folder or name of a sentence-transformers model; unset: the bundled MiniLM"
    )
    refusal: str = Field(REFUSAL, min_length=1, description="text of a refusal")
    neutral: str = Field(
        NEUTRAL, min_length=1, description="text used instead of the refusal when `disclose` is off"
    )
    disclose: bool = Field(
        True,
        description="off: neutral text at an ordinary answer's pace, ordinary finish reason, no logprobs and "
        "no `x-lethe-*` response headers, so that nothing tells that a name is guarded",
    )
    refusal_status: Literal[200, 400] = Field(
        200,
        description="HTTP status of a refusal: 200 an ordinary answer, 400 an error of type `content_filter`",
    )
    mode: Literal["enforce", "observe"] = Field(
        "enforce", description="`observe`: nothing changes for clients, what would have been done is counted"
    )
    alpha: float | None = Field(
        0.01,
        gt=0,
        lt=1,
        description="bound of the share of benign prompts that are flagged: thresholds are made anew in the "
        "background when targets have changed (docs/routing.md); null: the shipped thresholds",
    )
    scope: ScopeConfig = Field(
        ScopeConfig(),
        description="how scopes inside an entity are learned: `head` (kernel, logistic, mlp, bottleneck) and "
        "`adaptation` to traffic, off unless `enabled` (docs/routing.md); a JSON object in the environment",
    )
    in_context: InContext = Field(
        InContext(),
        description="prompt of action `rewrite`: `builder`, `mode`, `template`, `shots`, `substitute`, "
        "`repeat`, `place`, `budget` (docs/incontext.md); a JSON object in the environment",
    )
    open_surfaces: frozenset[str] = Field(
        frozenset(),
        description="ways past the guard that are opened on purpose: `beam_search`, `echo_logprobs`, "
        "`prompt_logprobs`, or a route as `POST /path`; a JSON list in the environment",
    )
    traffic: int = Field(
        1000,
        ge=0,
        description="recent prompts and answers kept for dry runs of targets, in memory only; 0: none",
    )
    ledger_key: Path | None = Field(
        None,
        description="file of the Ed25519 key that signs the ledger; unset: `ledger.key` in `home`, made once",
    )
    revisions_kept: int = Field(
        100, ge=1, description="changes of the targets that can be undone; older ones are forgotten"
    )
    drain_seconds: float = Field(
        30.0, ge=0, description="how long running requests may go on after a stop signal, seconds"
    )
    log_format: Literal["text", "json"] = Field("text", description="form of the guard's log lines on stderr")
    tracing: bool = Field(
        False, description="export OpenTelemetry spans; where to is said by the `OTEL_*` variables"
    )
    poll_seconds: float = Field(
        1.0,
        gt=0,
        le=60,
        description="how often a server looks for changes made in the store by others, seconds",
    )
    snapshots_kept: int = Field(
        8, ge=2, description="compiled snapshots kept on disk; older ones are deleted"
    )
    audit_queue: int = Field(
        4096, ge=1, description="audit records waiting for the database before requests wait for it too"
    )

    @model_validator(mode="after")
    def _keeps_quiet(self) -> Self:
        if self.refusal_status == 400 and not self.disclose:
            raise ValueError(
                "refusal_status 400 tells that a name is guarded, what disclose = false rules out; change one"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())

    @property
    def database_url(self) -> str:
        """The URL to open; a default SQLite file gets its directory made by the store."""
        return self.database or f"sqlite:///{(self.home / 'lethe.db').absolute()}"

    @property
    def snapshots(self) -> Path:
        """Directory of the compiled snapshots."""
        return self.home.absolute() / "snapshots"

    @property
    def forms(self) -> Forms:
        """How a suppressed answer reads."""
        return Forms(refusal=self.refusal, neutral=self.neutral, disclose=self.disclose)

    @property
    def key_file(self) -> Path:
        """Where the generated admin key is kept."""
        return self.home / "admin.key"

    def read_admin_key(self) -> str:
        """The admin key; the first call without one makes it, readable by the owner only.

        Raises:
            InputError: the key is empty or its file cannot be read or written.
        """
        if self.admin_key is not None:
            key, origin = self.admin_key.get_secret_value().strip(), "LETHE_ADMIN_KEY"
        else:
            key, origin = _key_in(self.key_file), str(self.key_file)
        if not key:
            raise InputError(
                f"the admin key in {origin} is empty; put a key there or remove it to get a new one"
            )
        return key


def config_file() -> Path:
    """The TOML file in use: the one named by ``LETHE_CONFIG``, else ``lethe.toml`` here if there is one."""
    return Path(os.environ.get(CONFIG_VARIABLE, CONFIG_FILE))


def read_settings(**given: Any) -> Settings:
    """The settings of this process; arguments win over environment and file.

    Raises:
        InputError: a setting is unknown or malformed; the message names it.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None and not Path(named).is_file():
        raise InputError(f"{CONFIG_VARIABLE} names {named!r}, which is not a file")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(item) for item in error.errors(include_url=False))) from None
    except ValueError as error:
        # The TOML reader's own error: it gives line and column.
        raise InputError(f"{config_file()} cannot be read: {error}") from None


def _sentence(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return f"unknown setting {name!r} in {config_file()}; known settings are {known}"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"setting {name!r}: {message}" if name else message


def _key_in(path: Path) -> str:
    key = secrets.token_urlsafe(32)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return path.read_text().strip()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
        # Linking decides which of two starting together makes the key, and shows it to the other only whole.
        path.hardlink_to(fresh)
    except FileExistsError:
        return path.read_text().strip()
    except OSError as error:
        raise InputError(f"cannot make the admin key file {path}: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return key
