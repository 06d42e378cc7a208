"""What can go wrong with a cluster; each message says what happened, to what, and what to do."""


class ClusterError(Exception):
    """A member or the cluster as a whole could not do what was asked."""


class StartError(ClusterError):
    """A member could not be started, died while starting, or did not become ready in time."""


class DataDirLockedError(ClusterError):
    """Another supervisor is using this data directory."""


class NotPermittedError(ClusterError):
    """The machine does not let us do this here; whoever wanted it can go without and say why."""
