"""Parts of `make bench-ha`: what a failover costs the clients that write, ours and Patroni's beside it."""
