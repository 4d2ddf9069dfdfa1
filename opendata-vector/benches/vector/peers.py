"""Runs the peers of the benchmark: python peers.py FOLDER DIMS METRIC ROWS

Prints a line for each setting: name, setting, recall@10, queries a second over all cores, vectors a second until
searchable, bytes a vector (on disk where it has files, else in memory), with tabs between. A peer that cannot run says why.
"""
import concurrent.futures
import os
import pathlib
import shutil
import sys
import tempfile
import time

import numpy as np

folder, dims, metric, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
cores = os.cpu_count()
base = np.fromfile(folder / "base.f32", np.float32).reshape(-1, dims)[:count]
queries = np.fromfile(folder / "queries.f32", np.float32).reshape(-1, dims)
truth = np.fromfile(folder / "truth.u32", np.uint32).reshape(-1, 10)
queries = queries[:len(truth)]
if metric == "cosine":
    base = base / np.linalg.norm(base, axis=1, keepdims=True)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)


def recall(found):
    return np.mean([len(set(map(int, one)) & set(map(int, true))) / 10 for one, true in zip(found, truth)])


def tell(name, setting, found, seconds, built, size):
    print(name, setting, f"{recall(found):.4f}", f"{len(queries) / seconds:.0f}", f"{count / built:.0f}",
          f"{size / count:.0f}", sep="\t", flush=True)


def timed(work):
    work()
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


def each(one):
    """One query after the other, from as many threads as there are cores."""
    def work():
        with concurrent.futures.ThreadPoolExecutor(cores) as pool:
            return list(pool.map(one, queries))
    return work


def size_of(path):
    return sum(file.stat().st_size for file in pathlib.Path(path).rglob("*") if file.is_file())


def faiss_hnsw():
    import faiss
    faiss.omp_set_num_threads(cores)
    kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(dims, 32, kind)
    index.hnsw.efConstruction = 100
    started = time.perf_counter()
    index.add(base)
    built = time.perf_counter() - started
    size = base.nbytes + count * 32 * 2 * 4
    for ef in (32, 64, 128, 256, 512):
        index.hnsw.efSearch = ef
        found, seconds = timed(lambda: index.search(queries, 10)[1])
        tell("faiss-hnsw", f"ef={ef}", found, seconds, built, size)


def usearch_hnsw():
    from usearch.index import Index
    index = Index(ndim=dims, metric={"l2": "l2sq", "cosine": "cos"}.get(metric, "ip"), dtype="f32")
    started = time.perf_counter()
    index.add(np.arange(count), base, threads=cores)
    built = time.perf_counter() - started
    for ef in (32, 64, 128, 256, 512):
        index.expansion_search = ef
        found, seconds = timed(lambda: index.search(queries, 10, threads=cores).keys)
        tell("usearch-hnsw", f"ef={ef}", found, seconds, built, index.memory_usage)


def lance():
    import lancedb
    import pyarrow as pa
    place = tempfile.mkdtemp(dir=folder)
    try:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.ravel()), dims)
        started = time.perf_counter()
        table = lancedb.connect(place).create_table("t", pa.table({"id": np.arange(count), "vector": vectors}))
        parts = next(n for n in range(dims // 4, 0, -1) if dims % n == 0)
        table.create_index(metric=metric, num_partitions=max(1, count // 4096), num_sub_vectors=parts)
        built = time.perf_counter() - started
        for probes in (10, 30):
            def one(query):
                rows = table.search(query).distance_type(metric).limit(10).nprobes(probes).refine_factor(10)
                return rows.select(["id"]).to_arrow()["id"].to_pylist()
            found, seconds = timed(each(one))
            tell("lancedb-ivf-pq", f"nprobes={probes}", found, seconds, built, size_of(place))
    finally:
        shutil.rmtree(place)


def qdrant():
    import qdrant_edge as q
    place = tempfile.mkdtemp(dir=folder)
    try:
        distance = {"l2": q.Distance.Euclid, "cosine": q.Distance.Cosine}.get(metric, q.Distance.Dot)
        config = q.EdgeConfig(vectors=q.EdgeVectorParams(size=dims, distance=distance))
        started = time.perf_counter()
        shard = q.EdgeShard.create(place, config)
        for first in range(0, count, 1000):
            points = [q.Point(first + at, row.tolist(), {}) for at, row in enumerate(base[first:first + 1000])]
            shard.update(q.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        built = time.perf_counter() - started
        for ef in (64, 128, 256):
            def one(query):
                request = q.SearchRequest(query=q.Query.Nearest(query.tolist()), limit=10, params=q.SearchParams(hnsw_ef=ef))
                return [point.id for point in shard.search(request)]
            found, seconds = timed(each(one))
            tell("qdrant-edge", f"ef={ef}", found, seconds, built, size_of(place))
    finally:
        shutil.rmtree(place)


for peer in (faiss_hnsw, usearch_hnsw, lance, qdrant):
    try:
        peer()
    except Exception as error:  # the others are measured nevertheless
        print(f"{peer.__name__} did not run: {error!r}", flush=True)
