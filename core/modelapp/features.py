"""What a plugin can do beside runtimes and schedulers, where that needs something which may be missing."""

from collections.abc import Callable

import attrs

from modelapp.runtime import Availability


@attrs.frozen(kw_only=True)
class Feature:
    """A part of a plugin, listed by `modelapp plugins`. `probe` is cheap: it looks for a library, and imports none."""

    name: str
    probe: Callable[[], Availability]
