"""Highly available PostgreSQL on Amazon RDS: one stack, two clouds."""
