"""Schemas under change: whether readers and writers of two versions understand each other, and what to do if not.

    avsc.py        a schema as a tree of types, each with its place in the file
    resolution.py  Avro's schema resolution: what keeps a reader from reading what a writer wrote
    advice.py      a fault as a sentence: the rule that is broken, and the compatible way
    mode.py        the seven modes: who must read whose records
    versions.py    earlier versions: from git, or from a folder
    subjects.py    what the registry knows of a subject
    difference.py  two schemas side by side, field by field
    review.py      every subject of a contract, judged

Apache Avro's checker (`avro` on PyPI) is the oracle of the tests and not what runs: it returns its messages and their
locations as two sets that cannot be paired, forgets the place inside unions, and takes an alias without a namespace
for a name without one.
"""
