#!/usr/bin/env python3
"""Makes ROOT files that look like NanoAOD from the dimuon events of CMS.

    make_files.py EVENTS.csv DIRECTORY --files 5 --events 2000000

Each event of the CSV file becomes several: turned around the beam by a random angle, which changes no mass, with up to
two soft muons that belong to nothing. Events have a variable number of muons, so Muon_pt and its fellows are jagged
arrays, as in NanoAOD. The same arguments give the same events.
"""
import argparse
import csv
import os

import awkward
import numpy
import uproot


def read_pairs(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: numpy.array([[float(row[name + n]) for n in "12"] for row in rows])
            for name in ("pt", "eta", "phi", "Q")}


def make_events(pairs, first, count, random):
    """Events first to first+count: the pairs over and over, harder muon first, soft muons behind."""
    chosen = numpy.arange(first, first + count) % len(pairs["pt"])
    turn = random.uniform(-numpy.pi, numpy.pi, size=count)
    order = numpy.argsort(-pairs["pt"][chosen], axis=1)
    take = lambda name: numpy.take_along_axis(pairs[name][chosen], order, axis=1)
    phi = numpy.mod(take("phi") + turn[:, None] + numpy.pi, 2 * numpy.pi) - numpy.pi
    soft = random.integers(0, 3, size=count)
    columns = {"pt": (take("pt"), lambda n: random.uniform(2, 5, n)),
               "eta": (take("eta"), lambda n: random.uniform(-2.4, 2.4, n)),
               "phi": (phi, lambda n: random.uniform(-numpy.pi, numpy.pi, n)),
               "charge": (take("Q"), lambda n: random.choice([-1.0, 1.0], n))}
    muons = {}
    for name, (pair, make_soft) in columns.items():
        soft_part = awkward.unflatten(make_soft(int(soft.sum())), soft)
        kind = numpy.int32 if name == "charge" else numpy.float32
        muons[name] = awkward.values_astype(awkward.concatenate([awkward.Array(pair), soft_part], axis=1), kind)
    return {"event": numpy.arange(first, first + count, dtype=numpy.uint64), "Muon": awkward.zip(muons)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("csv")
    parser.add_argument("directory")
    parser.add_argument("--files", type=int, default=5)
    parser.add_argument("--events", type=int, default=2_000_000, help="in all files together")
    options = parser.parse_args()
    pairs = read_pairs(options.csv)
    os.makedirs(options.directory, exist_ok=True)
    made = 0
    for number in range(options.files):
        end = options.events * (number + 1) // options.files
        random = numpy.random.default_rng(number)
        with uproot.recreate(os.path.join(options.directory, "nano_%d.root" % number)) as file:
            tree = file.mktree("Events", {  # a TTree, as NanoAOD has it
                "event": "uint64", "Muon": "var * {pt: float32, eta: float32, phi: float32, charge: int32}"})
            while made < end:
                count = min(100_000, end - made)
                tree.extend(make_events(pairs, made, count, random))
                made += count
    print("%d events in %d files" % (made, options.files))


if __name__ == "__main__":
    main()
