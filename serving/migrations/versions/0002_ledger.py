"""The ledger, API keys, and a history of the targets that can be gone back to."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Keeps all rows; the history begins with the targets that are there."""
    _make_the_audit_trail_a_ledger()
    _add_keys_and_tokens()
    _add_history()
    # The version before looks at this number, and so does not run on what it does not know.
    op.execute("DELETE FROM counters WHERE name = 'schema'")
    op.execute("INSERT INTO counters (name, value) VALUES ('schema', 2)")


def _make_the_audit_trail_a_ledger() -> None:
    for name, default in {"kind": "request", "hash": "", "signature": "", "signer": ""}.items():
        op.add_column("audit", sa.Column(name, sa.String(), nullable=False, server_default=default))
    op.add_column("audit", sa.Column("target_id", sa.String(), nullable=True))
    if op.get_context().dialect.name == "postgresql":
        # SQLite's whole numbers are that long anyway.
        for table, column in (("audit", "id"), ("counters", "value")):
            op.alter_column(table, column, type_=sa.BigInteger(), existing_type=sa.Integer())
    op.create_index("ix_audit_kind", "audit", ["kind"])
    op.create_index("ix_audit_target_id", "audit", ["target_id"])


def _add_keys_and_tokens() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("roles", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("expires", sa.String(), nullable=True),
        sa.Column("revoked", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tokens",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("ix_tokens_created", "tokens", ["created"])


def _add_history() -> None:
    op.create_table(
        "revisions",
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("time", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("targets", sa.Integer(), nullable=True),
        sa.Column("enforced", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("revision"),
    )
    op.create_index("ix_revisions_version", "revisions", ["version"])
    op.create_table(
        "undo",
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("revision", "target_id"),
    )
    begin = sa.text(
        "INSERT INTO revisions (revision, time, actor, change, count) "
        "SELECT value, :now, 'local', 'found', (SELECT count(*) FROM targets) "
        "FROM counters WHERE name = 'revision'"
    )
    op.execute(begin.bindparams(now=datetime.now(UTC).isoformat()))
