"""Schema evolution: whether readers and writers of two versions understand each other, and how to change it if not.

    avsc.py            a version of a schema, with the lines of its types
    resolution.py      Avro's schema resolution: what keeps a reader from reading a writer's records
    mode.py            the seven compatibility modes: who must read whose records
    advice.py          a fault in words: the broken rule, and a compatible change
    versions.py        earlier versions, from git or from a folder
    subjects.py        the registry's versions of a subject
    difference.py      two versions side by side, field by field
    review.py          every subject of a contract, checked
    subject_status.py  file, lock file and registry side by side; register and lock

Apache Avro's checker (`avro` on PyPI) is the oracle of the tests but is not used here: it returns its messages and
their locations as two sets that cannot be paired, loses the place inside unions, and does not resolve an alias in the
namespace of its type.
"""
