"""The leash: a small parent process that outlives neither its supervisor nor its child's children.

Run as a script by `cluster.process`, standard library only, so that it starts in about 20 ms:

    python -I -S leash.py [--uid N --gid N] [--cwd DIR] -- COMMAND ...

* stdin is the lifeline. Its end-of-file means that the supervisor is gone, even by SIGKILL: the leash
  then kills the whole tree, frozen processes included, and exits.
* stdout carries the report, one line each: `started PID`, or `failed REASON`; then `exited CODE`
  (negative for a signal, as in `subprocess`).
* stderr and the command's own output go to the log that the supervisor opened.

The leash is a child subreaper: when the command dies, its orphans (Postgres backends, which live in
sessions of their own) become children of the leash, so that no search can miss them. They are killed
before `exited` is reported; whoever reads that line knows that nothing is left. Should the leash itself
be killed, the command has asked the kernel to die with it.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_PARENT_CHECK_INTERVAL_MS = 1000
_EXEC_FAILED = 127


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def parents() -> dict[int, int]:
    """The parent of every process on the machine, by pid, zombies included, read from /proc."""
    parent_by_pid: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                # The command name stands in parentheses and may hold any byte, blanks included.
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue  # gone since the listing
        parent_by_pid[int(entry)] = int(fields[1])
    return parent_by_pid


def _become_child(
    command: Sequence[str], leash_pid: int, uid: int | None, gid: int | None, cwd: str | None
) -> None:
    """In the forked child: a session of its own, the right user, bound to the leash; then the command."""
    os.setsid()
    if uid is not None and gid is not None:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, because that clears it; the leash may have died before it took effect.
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != leash_pid:
        os._exit(_EXEC_FAILED)
    if cwd is not None:
        os.chdir(cwd)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.dup2(2, 1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], list(command))  # noqa: S606  # no shell is wanted: the command is a list


def _spawn(command: Sequence[str], uid: int | None, gid: int | None, cwd: str | None) -> int:
    """Forks and executes; returns the pid, or raises OSError when the command could not be executed."""
    leash_pid = os.getpid()
    error_read, error_write = os.pipe()  # close-on-exec: end-of-file means that exec succeeded
    pid = os.fork()
    if pid == 0:
        try:
            _become_child(command, leash_pid, uid, gid, cwd)
        except OSError as error:
            os.write(error_write, f"{error.strerror}: {error.filename or command[0]}".encode())
        finally:
            os._exit(_EXEC_FAILED)
    os.close(error_write)
    with os.fdopen(error_read, "rb") as errors:
        message = errors.read().decode(errors="replace")
    if message:
        os.waitpid(pid, 0)
        raise OSError(message)
    return pid


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _sweep() -> None:
    """Kills every child, and those that they leave behind, until none exists."""
    while True:
        own_pid = os.getpid()
        for pid, parent_pid in parents().items():
            if parent_pid == own_pid:
                _signal(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                continue
        except ChildProcessError:
            return


def _watch(main_pid: int) -> int | None:
    """Waits for the command's exit; None when the supervisor is gone first."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Meant for the command by whoever sent it here; the leash ends when the command does.
        signal.signal(number, lambda received, _: _signal(main_pid, received))
    supervisor_pid = os.getppid()
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(wake_read, select.POLLIN)
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None  # cannot happen before the command was reaped, and then we have returned
            if pid == main_pid:
                return os.waitstatus_to_exitcode(status)
            if pid == 0:
                break
        ready = dict(poll.poll(_PARENT_CHECK_INTERVAL_MS))
        if 0 in ready and not os.read(0, 64):
            return None
        if wake_read in ready:
            os.read(wake_read, 4096)
        if os.getppid() != supervisor_pid:
            return None  # a stray copy of the lifeline is still open somewhere, but its owner is dead


def _report(line: str) -> None:
    try:
        os.write(1, f"{line}\n".encode())
    except BrokenPipeError:
        return  # the supervisor is gone; nobody is left to tell


def _options(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Splits `--name value ... -- command ...`; argparse would double the start time."""
    split = list(arguments).index("--")
    pairs = arguments[:split]
    return dict(zip(pairs[::2], pairs[1::2], strict=True)), list(arguments[split + 1 :])


def main(arguments: Sequence[str]) -> int:
    """Runs one command on the leash; exit status 0 once it and all of its children are gone."""
    options, command = _options(arguments)
    uid = int(options["--uid"]) if "--uid" in options else None
    gid = int(options["--gid"]) if "--gid" in options else None
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        pid = _spawn(command, uid, gid, options.get("--cwd"))
    except OSError as error:
        _report(f"failed {error}")
        return 1
    _report(f"started {pid}")
    code = _watch(pid)
    _sweep()
    _report(f"exited {code if code is not None else -signal.SIGKILL}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
