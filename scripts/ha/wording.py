"""Fixed prose of docs/benchmarks.md."""

HEAD = """\
# Benchmarks

Written by `make bench-ha ARGS="--report"` from the figures of `make bench-ha`, with its plot; do not edit. What is
called *not measured* was not measured: nothing here is expected, estimated or remembered.

| command | does |
|---|---|
| `make bench-ha` | every section that is not complete; page and plot are beside the figures, in `bench-results` |
| `make bench-ha ARGS="--report"` | writes them into `docs`, unless a section would have fewer trials there than now |
| `make bench-ha ARGS="--install"` | gets etcd, Patroni, HAProxy and PgBouncer first (as root) |
| `make bench-ha ARGS="--only kill,hang --trials 5"` | some sections, some trials |
"""

METHOD = """\
## Method

Ours is a whole `multiaz up` in a fresh home: local AWS endpoint, a Multi-AZ instance, its read replicas. Clients
reach it through its endpoint over TLS (verify-full). Each of them commits one row, thinks 10 ms, and commits the
next. When its connection breaks it connects anew after 10 ms, doubled up to 100 ms; an answer that does not come
within 5 s is given up. The clients run in a process of their own and are not the bottleneck: they are paced.

- **Outage**: the longest time between two acknowledged commits, of all clients together, that was not over when the
  fault happened; one figure a trial. *One client*: the median of the clients' own longest such times, which
  reconnecting adds to.
- **Fault**: at a moment chosen by chance within half a second, after every client was acknowledged 20 rows.
- **Redundancy**: from the fault (of a lost zone or node: from its return) until the standby has every acknowledged
  commit, while the clients write on.
- **Rows**: acknowledged, unknown (sent and never answered) or failed (refused). Afterwards the database is asked for
  the rows of the trial. *Lost* is what was acknowledged and is not there. At the end of a section all rows of all its
  trials are counted again.
- Percentiles are values that were measured (nearest rank). A trial in which writes did not come back in time is
  counted, and its outage is the least it was.
"""

LIMITS = """\
## What the figures do not say

- One machine: loopback has no packet loss and no distance, so a commit that waits for the standby costs a local
  fsync. On RDS detection, DNS and distance make a failover 60 to 120 seconds (`--pace rds` imitates that); these
  figures do not predict it.
- Faults are signals. No disk failed, no network was cut, no kernel hung.
- Clients, servers, supervisor and, for Patroni, etcd share the cores. An unloaded cluster of machines detects no
  later, but promotes and rejoins at another speed.
- Patroni is built to judge over a network who is dead; a supervisor that sees its children die does not have to. The
  comparison says what a person meets on one machine, not which of the two is the better cluster manager.
- The databases are small: crash recovery, pg_rewind and clones take longer with more data and more WAL.
"""

PATRONI = """\
## Patroni 4 with etcd, beside it

Two nodes and one etcd on the same machine, the same PostgreSQL binaries, the same clients. Sections may have been
measured at different times and commits: the table of machines and versions says which. Clients
connect through HAProxy with Patroni's REST check every 100 ms, which cuts sessions of a node that is no longer
primary: a client alone cannot get away from a server that hangs, so this favours Patroni. They connect without TLS,
which is cheaper. *Defaults*: ttl 30, loop_wait 10, retry_timeout 10, asynchronous, as Patroni comes. *Fastest*: ttl
20, loop_wait 1, retry_timeout 3 (the least it takes), synchronous_mode on, primary_start_timeout 0. Both with
pg_rewind.

"""

STEPS = """\
## Where the time goes

Median seconds of each step, from the fault to the first commit: the supervisor's own record (`last_failover` of
`observed.json`) joined with the clients' clock. Medians of steps need not add up to the median of the whole.

The second failure of `second-early` is no failover: there is no standby yet, so the primary is started again in place.
Nothing is fenced, promoted or led elsewhere. It has two steps, detect (until the supervisor's log says that it starts
the primary) and restart (until PostgreSQL's `postmaster.pid` says that it takes clients, crash recovery included), and
then the first commit. Where *nothing tells of the steps* of a section, it was measured before they were kept; its
outages are above.

"""

PROMOTE = """\
## Promotion of a read replica

Seconds from PromoteReadReplica, asked through the AWS API, until the replica's endpoint acknowledges a row. The
replica is new and follows its source, whose clients write as above all the while. Another client tries a row on the
replica every 10 ms, from before the request on. *Available again*: until DescribeDBInstances says so, which is after
the first backup; these replicas are seconds old, and PostgreSQL starts an archiver no sooner than 10 s after it was
last started. *Source's pause*: the longest time between two acknowledged commits of the source meanwhile.

"""

OUTAGES = """\
## Write outage

Seconds. Of a pair of failures the second is shown; the first is a kill like any other. When there is no standby in
sync a killed primary is started again in place: nobody may take over, and nothing that was acknowledged is given up
for speed.

"""

ENDPOINT = """\
## Endpoint

One server behind the endpoint process (the relay), beside a direct connection, HAProxy and PgBouncer (session mode).
Every round measures all ways one after the other, each time beginning with another one; a figure is the median of the
rounds, a ratio the median of the rounds' ratios. With TLS, HAProxy passes on bytes that the server encrypts; relay and
PgBouncer end TLS and use the server's Unix socket. HAProxy before that socket (haproxy-unix) is measured without TLS
only, which a server does not speak there. The clients (`pgbench`, `psql`) share the cores with all of it. COPY is of
1 GB of 8 kB rows, thrown away by the client.
"""
