"""Trust, under the name of the package that gives it meaning.

Defined among the ports because the coordinator hands it out and `billing` asks it before every call.
"""

from middleman.ports.errors import TrustLost
from middleman.ports.trust import Trust, TrustWindow

__all__ = ["Trust", "TrustLost", "TrustWindow"]
