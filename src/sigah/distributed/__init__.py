"""Work on a cluster (Ray): encode, train and search in parallel, with the results of one process.

Every function starts Ray on this machine unless the ``address`` of a cluster is given. On a
cluster, sigah must be installed on all nodes, and all nodes must share the storage of the files.
"""

from __future__ import annotations

from sigah.distributed.encoding import encode
from sigah.distributed.sharded_index import ShardedIndex
from sigah.distributed.shards import build_shards
from sigah.distributed.training import fit

__all__ = ["ShardedIndex", "build_shards", "encode", "fit"]
