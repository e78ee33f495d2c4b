"""Everything known beside item ids: fitted columns, their encoding, and their fusion into vectors."""
