"""Primitives on real PostgreSQL servers; knows nothing of AWS and nothing of who is primary."""
