"""`gateway shadow`: what a new contract would change, found out from readings before it runs.

pipeline.py       one contract: readings, in the order of their arrival -> records, dead letters, or nothing
comparison.py     what two contracts make of a reading -> its differences
tally.py          differences -> groups with counts and samples, in bounded memory; what was expected
shadow.py         the steps: both contracts, the readings, subscriptions and schemas
report.py         the result as text, JSON or Markdown
"""
