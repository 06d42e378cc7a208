"""Every kind of fault that the mix knows."""

from chaos.faults import api as apis
from chaos.faults import etcd, partitions, postgres, processor, replicas
from chaos.faults.mixable import MixFault

KINDS: tuple[MixFault, ...] = (
    *replicas.MIX,
    *partitions.MIX,
    *etcd.MIX,
    *postgres.MIX,
    *processor.MIX,
    *apis.MIX,
)


def kind(name: str) -> MixFault:
    """The kind of that name."""
    return next(each for each in KINDS if each.name == name)
