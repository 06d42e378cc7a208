"""The term, under the name of the package that gives it meaning.

Defined among the ports because `billing` needs it too, and the use cases do not import one another.
"""

from middleman.ports.term import Term

__all__ = ["Term"]
