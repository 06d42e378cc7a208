"""Everything on one machine: real servers and processes that can be killed, frozen and restarted.

`Cluster` (from a frozen `ClusterSpec`) starts PostgreSQL, a three-member etcd, the sandbox, the API
and the replicas as separate processes and stops them again. Its parts can be used alone:
`PostgresServer`, `EtcdCluster` and `SandboxServer` are async context managers too. Every member is a
`ManagedProcess`: `kill`, `pause`, `resume`, `restart`, `stop` act on the real process.

How a member stays on its lead:

    supervisor ──stdin pipe (the lifeline)──▶ leash ──fork, drop user, exec──▶ the server
         ◀──stdout: "started PID", "exited CODE"──┘   └─ adopts and sweeps whatever the server leaves

The package knows commands, ports, signals and environment variables, and imports none of the code
that it runs.
"""
