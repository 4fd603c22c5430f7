"""The PostgreSQL endpoint of one DB instance: one process that knows a certificate and a link."""
