"""Schema evolution: whether readers and writers of two versions understand each other, and how to change it if not.

Apache Avro's checker (`avro` on PyPI) is the oracle of the tests but is not used here: it returns its messages and
their locations as two sets that cannot be paired, loses the place inside unions, and does not resolve an alias in the
namespace of its type.
"""
