"""Prints the confusion matrix that tests/boot/test_matrix.py leaves: a row for each fault that was injected, a
column for each verdict that was seen, and how often."""

import collections
import pathlib
import sys


def table(lines):
    cells = collections.Counter(tuple(line.split()) for line in lines if line.strip())
    faults = sorted({fault for fault, _ in cells})
    verdicts = sorted({verdict for _, verdict in cells})
    width = max(map(len, faults), default=0)
    rows = [" " * width + "  " + "  ".join(verdicts)]
    for fault in faults:
        counts = (cells[fault, verdict] for verdict in verdicts)
        rows.append(f"{fault:{width}}  " + "  ".join(f"{count or '.':>{len(verdict)}}"
                                                     for count, verdict in zip(counts, verdicts)))
    return rows


if __name__ == "__main__":
    print("\n".join(table(pathlib.Path(sys.argv[1]).read_text(encoding="ascii").splitlines())))
