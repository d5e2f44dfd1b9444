"""Where ``npresnet.fetch`` looks for its function; import :mod:`npresnet.fetching` for the rest.

Importing this module directly would put it, in place of the function, under the name ``npresnet.fetch``.
"""

from npresnet.fetching import fetch

__all__ = ["fetch"]
