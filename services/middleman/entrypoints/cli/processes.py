"""`middleman migrate`, `middleman api`, `middleman replica`: the processes, configured by their environment."""


def migrate() -> None:
    """Bring the database up to date, then exit.

    Schema, the roles' passwords, the first API key (MIDDLEMAN_DATABASE_URL, MIDDLEMAN_DB_PASSWORD_API, …).
    """
    from middleman.entrypoints.migrate import main

    main()


def api() -> None:
    """Serve the REST API.

    Configured by its environment (MIDDLEMAN_DATABASE_URL, MIDDLEMAN_API_PORT, STRIPE_API_KEY, …).
    """
    from middleman.entrypoints.api.__main__ import main

    main()


def replica() -> None:
    """Run one replica.

    Configured by its environment (MIDDLEMAN_DATABASE_URL, MIDDLEMAN_ETCD_ENDPOINTS, MIDDLEMAN_REPLICA_NAME, …).
    """
    from middleman.entrypoints.replica.__main__ import main

    main()
