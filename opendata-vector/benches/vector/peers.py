"""Runs the peers of the benchmark: python peers.py FOLDER DIMS METRIC ROWS [PEER]

Each peer runs in a process of its own, on the vectors, queries and cores of ours. Prints a line for each setting, with tabs
between: name and version, setting, recall@10, queries a second over all cores, vectors a second until searchable, bytes a vector
on disk (`-` if it has no files) and in memory (what its process has grown by, without files mapped into it; after the queries).
A peer that cannot run says why, and the others are measured nevertheless.
"""
import concurrent.futures
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("RUST_LOG", "error")
os.environ.setdefault("LANCE_LOG", "error")
import numpy as np

folder, dims, metric, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
cores = os.cpu_count()
# So long a setting is measured at most.
SECONDS = 4


def load():
    base = np.fromfile(folder / "base.f32", np.float32).reshape(-1, dims)
    # As many as are asked for, spread over all of them.
    base = np.ascontiguousarray(base[::max(1, len(base) // count)][:count])
    queries = np.fromfile(folder / "queries.f32", np.float32).reshape(-1, dims)
    truth = np.fromfile(folder / "truth.u32", np.uint32).reshape(-1, 10)
    queries = queries[:len(truth)]
    if metric == "cosine":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return base, queries, truth


def anonymous_bytes():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class Run:
    """One peer: its vectors, and what it tells about itself."""

    def __init__(self, package):
        self.base, self.queries, self.truth = load()
        self.name = f"{package} {importlib.metadata.version(package)}"
        self.before = anonymous_bytes()

    def build(self, work):
        started = time.perf_counter()
        built = work()
        self.built = time.perf_counter() - started
        return built

    def all_at_once(self, setting, search, place=None):
        """A library that spreads many queries over the cores itself."""
        search(self.queries)
        rounds, started = 0, time.perf_counter()
        while rounds == 0 or time.perf_counter() - started < SECONDS / 4:
            found = search(self.queries)
            rounds += 1
        self.tell(setting, found, rounds * len(self.queries), time.perf_counter() - started, place)

    def one_by_one(self, setting, search, place=None):
        """One query after the other, from as many threads as there are cores."""
        with concurrent.futures.ThreadPoolExecutor(cores) as pool:
            list(pool.map(search, self.queries[:50]))
            found, started = [], time.perf_counter()
            for first in range(0, len(self.queries), 100):
                found += pool.map(search, self.queries[first:first + 100])
                if time.perf_counter() - started > SECONDS:
                    break
            self.tell(setting, found, len(found), time.perf_counter() - started, place)

    def tell(self, setting, found, asked, seconds, place):
        right = [len(set(map(int, one)) & set(map(int, true))) / 10 for one, true in zip(found, self.truth)]
        files = pathlib.Path(place).rglob("*") if place else []
        # What is allocated, not how long files say they are: some are sparse.
        disk = sum(file.stat().st_blocks * 512 for file in files if file.is_file())
        memory = max(0, anonymous_bytes() - self.before)
        print(self.name, setting, f"{np.mean(right):.4f}", f"{asked / seconds:.0f}", f"{count / self.built:.0f}",
              f"{disk / count:.0f}" if place else "-", f"{memory / count:.0f}", sep="\t", flush=True)


def faiss_hnsw():
    import faiss
    faiss.omp_set_num_threads(cores)
    run = Run("faiss-cpu")
    index = faiss.IndexHNSWFlat(dims, 32, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    run.build(lambda: index.add(run.base))
    for ef in (32, 64, 128, 256):
        index.hnsw.efSearch = ef
        run.all_at_once(f"HNSW ef={ef}", lambda queries: index.search(queries, 10)[1])


def usearch_hnsw():
    from usearch.index import Index
    run = Run("usearch")
    index = Index(ndim=dims, metric={"l2": "l2sq", "cosine": "cos"}.get(metric, "ip"), dtype="f32")
    run.build(lambda: index.add(np.arange(count), run.base, threads=cores))
    for ef in (32, 64, 128, 256):
        index.expansion_search = ef
        run.all_at_once(f"HNSW ef={ef}", lambda queries: index.search(queries, 10, threads=cores).keys)


def lance(place):
    import lancedb
    import pyarrow as pa
    from lancedb.index import HnswSq, IvfPq
    run = Run("lancedb")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(run.base.ravel()), dims)
    rows = pa.table({"id": np.arange(count), "vector": vectors})
    distance = {"innerproduct": "dot"}.get(metric, metric)

    def measure(name, config, settings):
        def make():
            table = lancedb.connect(place).create_table("t", rows, mode="overwrite")
            table.create_index("vector", config=config)
            return table
        table = run.build(make)
        for probes, refine in settings:
            def one(query):
                asked = table.search(query).distance_type(distance).limit(10).nprobes(probes)
                asked = asked.refine_factor(refine) if refine else asked
                return asked.select(["id", "_distance"]).to_arrow()["id"].to_pylist()
            run.one_by_one(f"{name} nprobes={probes} refine={refine}", one, place)

    measure("IVF-PQ", IvfPq(distance_type=distance), [(5, 5), (20, 10)])
    shutil.rmtree(place)
    measure("HNSW-SQ", HnswSq(distance_type=distance), [(1, 2), (4, 4)])


def qdrant(place):
    import qdrant_edge as q
    run = Run("qdrant-edge-py")
    distance = {"l2": q.Distance.Euclid, "cosine": q.Distance.Cosine}.get(metric, q.Distance.Dot)

    def make():
        shard = q.EdgeShard.create(place, q.EdgeConfig(vectors=q.EdgeVectorParams(size=dims, distance=distance)))
        for first in range(0, count, 1000):
            points = [q.Point(first + at, row.tolist(), {}) for at, row in enumerate(run.base[first:first + 1000])]
            shard.update(q.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        return shard
    shard = run.build(make)
    for ef in (64, 128, 256):
        def one(query):
            request = q.SearchRequest(query=q.Query.Nearest(query.tolist()), limit=10, params=q.SearchParams(hnsw_ef=ef))
            return [point.id for point in shard.search(request)]
        run.one_by_one(f"HNSW ef={ef}", one, place)


IN_MEMORY = {"faiss-cpu": faiss_hnsw, "usearch": usearch_hnsw}
ON_DISK = {"lancedb": lance, "qdrant-edge-py": qdrant}


def main():
    if len(sys.argv) == 5:
        for peer in [*IN_MEMORY, *ON_DISK]:
            ended = subprocess.run([sys.executable, __file__, *sys.argv[1:], peer], stderr=subprocess.DEVNULL)
            if ended.returncode:
                print(f"{peer} ended with {ended.returncode}", flush=True)
        return
    peer = sys.argv[5]
    place = tempfile.mkdtemp(dir=folder)
    try:
        IN_MEMORY[peer]() if peer in IN_MEMORY else ON_DISK[peer](place)
    except Exception as error:
        print(f"{peer} did not run: {error!r}", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


main()
