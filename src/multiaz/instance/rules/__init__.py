"""The rules of the failover state machine, one function per row of `decide.TRANSITIONS`, by story.

A rule is asked only in the states of its row. It returns a step, or None if it has nothing to say. None of them
knows the others: which comes first is the table's business.
"""
