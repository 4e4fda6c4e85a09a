"""Published numbers with the protocol they were measured by, and whether ours compare with them.

Two numbers of one benchmark differ by protocol as much as by model (the same Qwen2.5-VL-7B has
58.6, 59.2 and 75.5 on V*), and sources state few of the parts. What a source does not state is
null in the files here, and there are three classes:

comparable          every part of the protocol is stated, and the same
as far as stated    the least that has to be stated is, see `rules.NEEDED`, and nothing that is
                    stated differs; what is not stated is listed beside the number
not comparable      something differs, or too little is stated, and the list says what

`any` says that a number cannot depend on a part. Harmless, and so not asked for: the form in which
a model writes its boxes, and how it is run.
"""

from .comparing import (
    AS_STATED,
    COMPARABLE,
    NOT_COMPARABLE,
    Match,
    beside,
    by_agent,
    in_order,
    match,
)
from .numbers import Protocol, Published, load
from .own import copies, fingerprints, keep, kept, read

__all__ = [
    "AS_STATED",
    "COMPARABLE",
    "NOT_COMPARABLE",
    "Match",
    "Protocol",
    "Published",
    "beside",
    "by_agent",
    "copies",
    "fingerprints",
    "in_order",
    "keep",
    "kept",
    "load",
    "match",
    "read",
]
