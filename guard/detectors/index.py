"""Indexes of unit vectors in faiss: exact for few, cells for many, and how they are joined.

Above `FLAT_LIMIT` vectors the index is an inverted file (Jegou et al. 2011, "Product quantization for nearest
neighbor search", section 4): a vector is filed in the cell of its nearest centre, and a search looks into the
`PROBES` nearest cells. Vectors are kept in half precision: 2 x d bytes, and 8 for their number.

No repetition of a stored vector is missed. It is nearest to the centre that the stored one is nearest to, so
its cell is looked into, and half precision changes a cosine of unit vectors by less than 2^-11.

`python -m benchmarks.scale` measured on one core (d = 384, 8 frames, most vectors made from encoded
ones): of 100,000 the nearest is always first and 98.5 % of the first 32 are found, in 0.44 ms; of a million
the nearest is first in 99.5 to 100 % of searches and 99.5 % of the first 32 are found, in 1.5 ms.

Other kinds were tried once, not by that command, on 100,000 vectors with 32 of 512 cells: comparing with
all took 14 ms; eight bits per number halve the memory, but put the nearest first in 93 % of searches, half
precision in 99 %; a graph (HNSW, 16 links) took 7 times as long to build and lost 1 to 5 % of the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.encoder import Vectors

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Blocks = Callable[[], Iterator[tuple[Rows, Vectors]]]
"""Vectors, block by block, each with its number: a second float32 copy of them all is never held."""

FLAT_LIMIT = 20_000  # vectors; an exact search among them takes 3 ms, a fourth of what encoding the text does
PROBES = 64  # cells looked into; 32 found 94 to 96 % of the first 32 among 100,000, these 98.5 %
_BLOCK = 16_384  # vectors handled at once: 25 MB
_SAMPLE = 32  # vectors per cell from which the centres are found
_ROUNDS = 8  # of k-means; more moved no recall by a hundredth
_GROWTH = 2  # times more or fewer cells than there ought to be, at which new ones are made


def build(blocks: Blocks, count: int, width: int) -> Any:
    """A faiss index of ``count`` vectors whose numbers are 0 .. count - 1.

    Args:
        blocks: the vectors; called twice.
        count: how many.
        width: d.
    """
    faiss = _faiss()

    if count > FLAT_LIMIT:
        index = _cells(_centres(blocks, count, width))
        for rows, vectors in blocks():
            index.add_with_ids(vectors, rows)
        return index
    placed = np.empty((count, width), dtype=np.float32)
    for rows, vectors in blocks():
        placed[rows] = vectors
    index = faiss.IndexFlatIP(width)
    index.add(placed)
    return index


def join(given: Sequence[tuple[Any, Mask]]) -> Any:
    """One index of several, each without the vectors whose mask is False; numbers are assigned in order.

    Cells are kept while they fit the number of vectors, which saves finding their centres anew.
    """
    faiss = _faiss()

    count = sum(int(kept.sum()) for _, kept in given)
    numbers = _numbers([kept for _, kept in given])
    largest = max(range(len(given)), key=lambda part: given[part][0].ntotal)
    base = given[largest][0]

    def blocks(without: int | None = None) -> Iterator[tuple[Rows, Vectors]]:
        for part, (index, kept) in enumerate(given):
            if part != without:
                for rows, vectors in _vectors(index):
                    alive = kept[rows]
                    yield numbers[part][rows[alive]], vectors[alive]

    if count <= FLAT_LIMIT or not _has_cells(base) or not _fits(base, count):
        return build(blocks, count, base.d)
    index = _cells(faiss.clone_index(base.quantizer))
    _copy(base, given[largest][1], numbers[largest], index)
    for rows, vectors in blocks(largest):
        index.add_with_ids(vectors, rows)
    return index


def search(index: Any, vectors: Vectors, count: int, kept: Mask | None) -> tuple[Vectors, Rows]:
    """Cosines and numbers of the ``count`` nearest to each vector; number -1 where there are too few.

    Args:
        index: the index.
        vectors: float32 [m, d].
        count: k.
        kept: which vectors count; None for all.
    """
    faiss = _faiss()

    given: dict[str, Any] = {}
    if kept is not None:
        given["sel"] = faiss.IDSelectorBitmap(np.packbits(kept, bitorder="little"))
    if not _has_cells(index):
        params = faiss.SearchParameters(**given)
    else:
        # More cells where fewer vectors count, so that as many are compared.
        share = 1.0 if kept is None else max(int(kept.sum()), 1) / kept.size
        params = faiss.SearchParametersIVF(nprobe=min(index.nlist, math.ceil(PROBES / share)), **given)
    cosines, numbers = index.search(vectors, count, params=params)
    return cosines, numbers


def _faiss() -> Any:
    """The library. Its types are those of C++, not of the Python that it puts over them."""
    import faiss

    return faiss


def _has_cells(index: Any) -> bool:
    return hasattr(index, "nprobe")


def _cells(quantizer: Any) -> Any:
    """An empty inverted file whose cells are around the vectors of a flat index."""
    faiss = _faiss()

    half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(quantizer, quantizer.d, quantizer.ntotal, half, product, False)
    index.is_trained = True  # half precision has nothing to learn
    return index


def _cell_count(count: int) -> int:
    """Twice the root: comparing with the centres then costs about what comparing in the cells does."""
    return int(2 * math.sqrt(count))


def _centres(blocks: Blocks, count: int, width: int) -> Any:
    """A flat index of centres, found by k-means on the sphere in an even sample of the vectors."""
    faiss = _faiss()

    cells = _cell_count(count)
    step = max(1, count // (cells * _SAMPLE))
    sample = np.concatenate([vectors[rows % step == 0] for rows, vectors in blocks()])
    kmeans = faiss.Kmeans(
        width,
        cells,
        niter=_ROUNDS,
        spherical=True,
        seed=7,
        min_points_per_centroid=1,
        max_points_per_centroid=2 * _SAMPLE,
    )
    kmeans.train(sample)
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(kmeans.centroids)
    return quantizer


def _fits(index: Any, count: int) -> bool:
    """True if an index's cells suit that many vectors."""
    wanted = _cell_count(count)
    return bool(wanted / _GROWTH <= index.nlist <= wanted * _GROWTH)


def _copy(index: Any, kept: Mask, numbers: Rows, into: Any) -> None:
    """Puts the vectors that are kept into the same cells of another index, under their new numbers."""
    faiss = _faiss()

    for cell in range(index.nlist):
        rows, codes = _cell(index, cell)
        alive = kept[rows]
        rows, codes = np.ascontiguousarray(numbers[rows[alive]]), np.ascontiguousarray(codes[alive])
        into.invlists.add_entries(cell, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    into.ntotal = int(kept.sum())


def _cell(index: Any, cell: int) -> tuple[Rows, npt.NDArray[np.uint8]]:
    """Numbers and bytes of the vectors in a cell; views of the index's own memory."""
    faiss = _faiss()

    size = index.invlists.list_size(cell)
    rows = faiss.rev_swig_ptr(index.invlists.get_ids(cell), size)
    codes = faiss.rev_swig_ptr(index.invlists.get_codes(cell), size * index.code_size)
    return rows, codes.reshape(size, index.code_size)


def _vectors(index: Any) -> Iterator[tuple[Rows, Vectors]]:
    """What an index holds, block by block."""
    if _has_cells(index):
        for cell in range(index.nlist):
            rows, codes = _cell(index, cell)
            yield rows, codes.view(np.float16).astype(np.float32)
    else:
        for start in range(0, index.ntotal, _BLOCK):
            size = min(_BLOCK, index.ntotal - start)
            yield np.arange(start, start + size), index.reconstruct_n(start, size)


def _numbers(kept: Sequence[Mask]) -> list[Rows]:
    """For each part the new numbers of its vectors, in order; meaningless for those not kept."""
    ends = np.cumsum(np.concatenate([[False], *kept]), dtype=np.int64)
    starts = np.cumsum([0, *(mask.size for mask in kept)])
    return [ends[start : start + mask.size] for start, mask in zip(starts, kept, strict=False)]
