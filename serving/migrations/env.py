"""What Alembic runs: migrations in the transaction that `serving.migrations.schema.upgrade` has begun."""

from alembic import context
from sqlmodel import SQLModel

import serving.database  # noqa: F401  # declares the tables

context.configure(connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata)
context.run_migrations()
