"""The database's schema: numbered migrations in ``versions/``, which Alembic runs."""
