"""Numbers from rows: intervals, aggregations, comparisons."""
