"""The labelling of grids that costs least, by minimum cuts."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow


def cut_grids(
    unary: NDArray[np.int64], down: NDArray[np.int64], across: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Labels (N, b, b) of grids of cells, from 0 to K, which minimise a sum of costs exactly.

    Each cell costs ``unary`` of its label, each pair of neighbours their weight times ((l - m) / K)^2.

    Args:
        unary: (N, b, b, K + 1) costs of each cell's labels.
        down: (N, b - 1, b) weights of a cell and the one below, at least 0.
        across: (N, b, b - 1) weights of a cell and the one to its right, at least 0.

    Reference: Ishikawa, "Exact optimization for Markov random fields with convex priors", PAMI 2003. All grids are one
    graph: each cell a chain of K nodes from the source to the sink, cut behind as many nodes as its label says.
    """
    steps = unary.shape[3] - 1
    cells = np.arange(unary[..., 0].size).reshape(unary.shape[:3])
    pairs = [
        (cells[:, :-1].ravel(), cells[:, 1:].ravel(), down.ravel()),
        (cells[:, :, :-1].ravel(), cells[:, :, 1:].ravel(), across.ravel()),
    ]
    first, second, weight = (np.concatenate(part) for part in zip(*pairs, strict=True))
    # In units of 1 / K^2, to stay whole. Edges between the chains of neighbours, both ways and from each node to each,
    # cost w (K l + K m - 2 l m), which is w (l - m)^2 but for what each cell's own label l adds: w (K l - l^2).
    labels = np.arange(steps + 1)
    own = unary.reshape(-1, steps + 1) * steps**2
    touching = np.bincount(first, weight, len(own)) + np.bincount(second, weight, len(own))
    own = own - (touching[:, None] * (steps * labels - labels**2)).astype(np.int64)
    own -= own.min(1, keepdims=True)

    source, sink = own.shape[0] * steps, own.shape[0] * steps + 1
    nodes = np.arange(source).reshape(-1, steps)
    chain = np.concatenate([np.full((len(own), 1), source), nodes, np.full((len(own), 1), sink)], axis=1)
    endless = int(own.sum(1).max()) + 1
    tails = [chain[:, :-1].ravel(), nodes[:, 1:].ravel()]
    heads = [chain[:, 1:].ravel(), nodes[:, :-1].ravel()]
    capacities = [own.ravel(), np.full(nodes[:, 1:].size, endless)]
    for i in range(steps):
        for j in range(steps):
            tails += [nodes[first, i], nodes[second, i]]
            heads += [nodes[second, j], nodes[first, j]]
            capacities += [weight, weight]
    graph = csr_array(
        (
            np.concatenate(capacities).astype(np.int32),
            (np.concatenate(tails), np.concatenate(heads)),
        ),
        shape=(sink + 1, sink + 1),
    )
    left = graph - maximum_flow(graph, source, sink).flow
    left.eliminate_zeros()
    reached = np.zeros(sink + 1, bool)
    reached[breadth_first_order(left, source, return_predecessors=False)] = True
    found: NDArray[np.int64] = reached[nodes].sum(1).reshape(cells.shape)
    return found
