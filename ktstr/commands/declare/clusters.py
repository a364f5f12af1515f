"""The cluster of one invocation: named by a variable, Dask's own, or ktstr.yaml; connected to once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Invocation
from ktstr.options import Running

if TYPE_CHECKING:
    from ktstr.cluster.session import Cluster


def cluster_address_of(invocation: Invocation, given: str | None) -> str | None:
    """The address of the cluster that is meant; None for this host. Raises InputError."""
    from ktstr.cluster.address import cluster_address

    return cluster_address(given, invocation.environ, _declared(invocation))


def cluster_looked_at(invocation: Invocation, given: str | None) -> str | None:
    """The address of the cluster that a command about hosts is given; None for this host: neither Dask's own variable
    nor ktstr.yaml changes which hosts it is about. Raises InputError, and HostError without the extra."""
    from ktstr.cluster.address import cluster_address

    address = cluster_address(given, {}, None)
    if address is not None:
        from ktstr.cluster.needs import need_cluster

        need_cluster(address)
    return address


def _declared(invocation: Invocation) -> str | None:
    """What ktstr.yaml says. It is typed for that only where the word is in it."""
    try:
        if b"cluster" not in invocation.project.config.read_bytes():
            return None
    except OSError:
        return None  # whoever plans says so
    from ktstr.config.validated import load_config

    return load_config(invocation.project).cluster


def cluster_of(invocation: Invocation, running: Running) -> Cluster | None:
    """The cluster that cells run on; None for this host. Raises InputError, HostError, Cancelled."""
    address = cluster_address_of(invocation, running.cluster)
    if address is None:
        return None
    if address not in invocation.clusters:
        from ktstr.cluster.needs import need_cluster

        need_cluster(address)
        from ktstr.cluster.session import Asker, open_cluster

        asker = Asker(invocation.project, invocation.environ, invocation.progress, invocation.cancel, running.timeout)
        invocation.clusters[address] = open_cluster(address, asker, invocation.held)
    return invocation.clusters[address]
