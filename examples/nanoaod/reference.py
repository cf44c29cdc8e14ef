#!/usr/bin/env python3
"""The same physics in one process, written another way: no awkward arrays, no chunks, an event at a time.

    reference.py FILE.root… > reference.json
"""
import json
import math
import sys

import uproot


def main():
    counts, pairs, events, below, above = [0] * 60, 0, 0, 0, 0
    for path in sys.argv[1:]:
        with uproot.open(path) as file:
            arrays = file["Events"].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"])
        columns = [arrays["Muon_" + name].to_list() for name in ("pt", "eta", "phi", "charge")]
        for muons in zip(*columns):
            events += 1
            hard = [muon for muon in zip(*muons) if muon[0] > 10]
            if len(hard) < 2 or hard[0][3] * hard[1][3] >= 0:
                continue
            pairs += 1
            (pt1, eta1, phi1, _), (pt2, eta2, phi2, _) = hard[:2]
            mass = math.sqrt(2 * pt1 * pt2 * (math.cosh(eta1 - eta2) - math.cos(phi1 - phi2)))
            if mass < 60:
                below += 1
            elif mass > 120:
                above += 1
            else:
                counts[min(int(mass - 60), 59)] += 1
    json.dump({"counts": counts, "underflow": below, "overflow": above, "events": events, "pairs": pairs}, sys.stdout)


if __name__ == "__main__":
    main()
