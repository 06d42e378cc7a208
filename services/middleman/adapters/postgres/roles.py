"""The roles of one database. A role belongs to the whole server, so its name carries the name of its database.

`<prefix>_api`, `<prefix>_replica` and `<prefix>_judge`; the prefix is the database's name unless a setting gives another.
Until release 0.1 the names were `middleman_…` on every database of a server, and a password set for one opened all.
The migrations still say `middleman_…` and stay as they were landed: `RoleNames.in_sql` puts the database's own names there.
Which roles a database uses is read from its rights, which a dump carries along: see ADR 0025.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MIGRATIONS_SAY = "middleman"
_KINDS = ("api", "replica", "judge")
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]*")
_LONGEST_BYTES = 63
_IN_SQL = re.compile(r"(['\"]?)\bmiddleman_(api|replica|judge)\b\1")
_TRANSACTION_TIMEOUT_SINCE = 170_000

# A replica that freezes must not hold rows for long, not even in a session typed by hand. JIT compilation costs more
# than it saves on statements of a millisecond; it is switched off here and not at the login, because pgbouncer refuses
# startup parameters that it does not know. The tables are in `public`, whatever the database's search_path is.
_COMMON = {"jit": "off", "search_path": "public"}
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "api": {
        "lock_timeout": "5s",
        "statement_timeout": "10s",
        "idle_in_transaction_session_timeout": "5s",
        "transaction_timeout": "10s",
        "synchronous_commit": "on",
        **_COMMON,
    },
    "replica": {
        "lock_timeout": "2s",
        "statement_timeout": "10s",
        "idle_in_transaction_session_timeout": "2s",
        "transaction_timeout": "12s",
        "synchronous_commit": "on",
        **_COMMON,
    },
    "judge": {"default_transaction_read_only": "on", **_COMMON},
}

# Whose rights stand on a table that every role reads: the prefixes that this database uses.
_PREFIXES_IN_USE = """
    SELECT DISTINCT left(r.rolname, -length('_api')) AS prefix
    FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.oid = to_regclass('public.plans') AND a.privilege_type = 'SELECT' AND r.rolname LIKE '%\\_api'
    ORDER BY prefix
"""
_SET = "SELECT format('ALTER ROLE %I SET %I = %L', CAST(:role AS text), CAST(:name AS text), CAST(:value AS text))"
# pg_shdepend has an entry for each object of each database on which a role has rights.
_OTHER_DATABASES = """
    SELECT DISTINCT d.datname AS name
    FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_authid'::regclass AND d.datname <> current_database()
      AND s.refobjid IN (SELECT oid FROM pg_roles WHERE rolname = ANY(:roles))
    ORDER BY name
"""
# One statement for each right that :role has in this database; :verb is GRANT or REVOKE.
_RIGHTS = """
    SELECT format(:verb || ' %s ON %s %I.%I ' || :preposition || ' %I', a.privilege_type,
                  CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relnamespace::regnamespace::name,
                  c.relname, CAST(:receiver AS text)) AS statement
    FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = to_regrole(:role)::oid
    UNION ALL
    SELECT format(:verb || ' %s (%I) ON TABLE %I.%I ' || :preposition || ' %I', a.privilege_type, t.attname,
                  c.relnamespace::regnamespace::name, c.relname, CAST(:receiver AS text))
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) a
    WHERE a.grantee = to_regrole(:role)::oid
    UNION ALL
    SELECT format(:verb || ' EXECUTE ON FUNCTION %s ' || :preposition || ' %I', p.oid::regprocedure,
                  CAST(:receiver AS text))
    FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee = to_regrole(:role)::oid
    UNION ALL
    SELECT format(:verb || ' %s ON SCHEMA %I ' || :preposition || ' %I', a.privilege_type, n.nspname,
                  CAST(:receiver AS text))
    FROM pg_namespace n, aclexplode(n.nspacl) a WHERE a.grantee = to_regrole(:role)::oid
"""
_ROLE_SETTINGS = """
    SELECT split_part(unnest(s.setconfig), '=', 1) AS name
    FROM pg_db_role_setting s WHERE s.setdatabase = 0 AND s.setrole = to_regrole(:role)::oid
"""


class CannotMigrate(Exception):
    """The database or its roles are not as they have to be; the message says what to change."""


@dataclass(frozen=True, slots=True)
class RoleNames:
    """The names of one database's roles."""

    prefix: str = MIGRATIONS_SAY

    def __post_init__(self) -> None:
        longest = max(map(len, _KINDS)) + 1
        if not _PREFIX.fullmatch(self.prefix) or len(self.prefix.encode()) + longest > _LONGEST_BYTES:
            raise CannotMigrate(
                f"no role can be named after {self.prefix!r}: set MIDDLEMAN_DB_ROLE_PREFIX to at most "
                f"{_LONGEST_BYTES - longest} letters, digits, _ and -, and no other database's"
            )

    def of(self, kind: str) -> str:
        """The name for `api`, `replica` or `judge`."""
        return f"{self.prefix}_{kind}"

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self.of(kind) for kind in _KINDS)

    def in_sql(self, sql: str) -> str:
        """A migration's SQL with these names for `middleman_…`: a literal stays a literal, a name is quoted."""
        if self.prefix == MIGRATIONS_SAY:
            return sql
        return _IN_SQL.sub(
            lambda found: f"'{self.of(found[2])}'" if found[1] == "'" else f'"{self.of(found[2])}"', sql
        )


async def prepare_roles(connection: AsyncConnection, names: RoleNames, retired: str = "") -> list[str]:
    """Before the migrations: the roles exist, and have the rights that this database gave to others before.

    `retired` is the prefix of roles that lose every right here; empty: none.
    Returns what an operator should know. Raises `CannotMigrate` where the names belong to another database.
    """
    found = [row.prefix for row in await connection.execute(text(_PREFIXES_IN_USE))]
    others = await _other_databases(connection, names)
    if others and names.prefix not in found:
        raise CannotMigrate(
            f"the roles {names.of('api')}, … belong to the database {others[0]}, whose passwords would change: "
            f"set MIDDLEMAN_DB_ROLE_PREFIX to a name that no other database uses"
        )
    for role in names.all:
        exists = await connection.scalar(text("SELECT to_regrole(quote_ident(:role))"), {"role": role})
        if exists is None:
            await _run(connection, "SELECT format('CREATE ROLE %I LOGIN', CAST(:role AS text))", role=role)
    if found and names.prefix not in found:
        for kind in _KINDS:
            await _adopt(connection, RoleNames(found[0]).of(kind), names.of(kind))
    if retired:
        await _retire(connection, retired, names)
    former = [prefix for prefix in found if prefix not in (names.prefix, retired)]
    notes = [_note_of_former(RoleNames(prefix), names) for prefix in former]
    if others:
        notes.append(
            f"the roles {names.of('api')}, … have rights in the database {others[0]}, too: a password set here opens "
            f"it. Run `middleman migrate` of this release there, and retire them there"
        )
    return notes


async def finish_roles(connection: AsyncConnection, names: RoleNames) -> list[str]:
    """After the migrations: settings that a role has lost or never had, and who may connect.

    Returns what an operator should know. Raises `CannotMigrate` where the roles have no rights.
    """
    version = await connection.scalar(text("SELECT current_setting('server_version_num')::integer"))
    for kind, settings in _SETTINGS.items():
        role = names.of(kind)
        present = await connection.execute(text(_ROLE_SETTINGS), {"role": _quoted(role)})
        missing = settings.keys() - {row.name for row in present}
        for name in sorted(missing):
            if name != "transaction_timeout" or version >= _TRANSACTION_TIMEOUT_SINCE:
                await _run(connection, _SET, role=role, name=name, value=settings[name])
    await _run(connection, "SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database())")
    for role in names.all:
        await _run(
            connection,
            "SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), CAST(:role AS text))",
            role=role,
        )
        readable = "SELECT has_table_privilege(CAST(:role AS name), 'public.plans', 'SELECT')"
        if not await connection.scalar(text(readable), {"role": role}):
            raise CannotMigrate(
                f"the role {role} has no rights in this database: restore the dump with its privileges (pg_restore "
                "without --no-privileges), after the roles that it names were made"
            )
    open_to_all = "SELECT has_database_privilege('public', current_database(), 'CONNECT')"
    if await connection.scalar(text(open_to_all)):
        return [
            "every role of the server may connect to this database; as its owner, run: "
            "REVOKE CONNECT ON DATABASE … FROM PUBLIC"
        ]
    return []


async def _retire(connection: AsyncConnection, prefix: str, names: RoleNames) -> None:
    if prefix == names.prefix:
        raise CannotMigrate(f"MIDDLEMAN_DB_RETIRE_ROLES={prefix} names the roles that this database uses")
    former = RoleNames(prefix)
    for kind in _KINDS:
        role = former.of(kind)
        if await connection.scalar(text("SELECT to_regrole(quote_ident(:role))"), {"role": role}) is None:
            continue
        for statement in await _rights(connection, role, "REVOKE", "FROM", role):
            await connection.exec_driver_sql(statement)
        await _run(
            connection,
            "SELECT format('REVOKE CONNECT ON DATABASE %I FROM %I', current_database(), CAST(:role AS text))",
            role=role,
        )
        await _run(
            connection,
            "SELECT format('REVOKE %I FROM %I', CAST(:own AS text), CAST(:role AS text))",
            own=names.of(kind),
            role=role,
        )


async def _adopt(connection: AsyncConnection, former: str, role: str) -> None:
    """`role` gets the rights of `former` here; `former`, as its member, keeps up with what later migrations grant."""
    for statement in await _rights(connection, former, "GRANT", "TO", role):
        await connection.exec_driver_sql(statement)
    await _run(
        connection,
        "SELECT format('GRANT %I TO %I', CAST(:role AS text), CAST(:former AS text))",
        role=role,
        former=former,
    )


async def _rights(
    connection: AsyncConnection, role: str, verb: str, preposition: str, receiver: str
) -> Sequence[str]:
    found = await connection.execute(
        text(_RIGHTS),
        {"role": _quoted(role), "verb": verb, "preposition": preposition, "receiver": receiver},
    )
    return [row.statement for row in found]


async def _other_databases(connection: AsyncConnection, names: RoleNames) -> list[str]:
    found = await connection.execute(text(_OTHER_DATABASES), {"roles": list(names.all)})
    return [row.name for row in found]


async def _run(connection: AsyncConnection, making: str, **values: str) -> None:
    """Run the statement that the server makes of `making`, with every name and value quoted by it."""
    await connection.exec_driver_sql(await connection.scalar(text(making), values))


def _note_of_former(former: RoleNames, names: RoleNames) -> str:
    return (
        f"this database's roles are now {', '.join(names.all)}. The roles {', '.join(former.all)} keep their rights here "
        f"until they are retired: put the new names and passwords into the database URLs of api, replica and judge, "
        f"restart them, then run migrate once with MIDDLEMAN_DB_RETIRE_ROLES={former.prefix}. To keep the old names "
        f"instead, set MIDDLEMAN_DB_ROLE_PREFIX={former.prefix}"
    )


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
