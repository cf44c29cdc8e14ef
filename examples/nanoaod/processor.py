#!/usr/bin/env python3
"""The task: the mass of the two leading muons of opposite charge, for the events FIRST to LAST-1 of one file.

    processor.py FILE TREE FIRST LAST OUTPUT.json

The output is a histogram as the built-in accumulator adds it (docs/analysis.md).
"""
import json
import sys

import awkward
import numpy
import uproot

BINS, LOW, HIGH = 60, 60.0, 120.0


def main():
    path, tree, first, last, output = sys.argv[1:]
    with uproot.open(path) as file:
        events = file[tree].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"], entry_start=int(first),
                                   entry_stop=int(last))
    muons = awkward.zip({name: events["Muon_" + name] for name in ("pt", "eta", "phi", "charge")})
    muons = muons[muons.pt > 10]
    pairs = muons[awkward.num(muons) >= 2]
    a, b = pairs[:, 0], pairs[:, 1]
    opposite = a.charge * b.charge < 0
    a, b = a[opposite], b[opposite]
    wide = lambda array: awkward.to_numpy(array).astype(numpy.float64)
    mass = numpy.sqrt(2 * wide(a.pt) * wide(b.pt)
                      * (numpy.cosh(wide(a.eta) - wide(b.eta)) - numpy.cos(wide(a.phi) - wide(b.phi))))
    counts, _ = numpy.histogram(mass, bins=BINS, range=(LOW, HIGH))
    result = {
        "format": "taskmill-histograms-1",
        "histograms": {"mass": {"axes": [{"label": "m(µµ) [GeV]", "bins": BINS, "low": LOW, "high": HIGH}],
                                "counts": counts.tolist(), "underflow": int((mass < LOW).sum()),
                                "overflow": int((mass > HIGH).sum())}},
        "counters": {"events": len(events), "pairs": len(mass)},
    }
    with open(output, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
