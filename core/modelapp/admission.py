"""Who may come in: what stands between a request and its work, whichever door it came by."""

from modelapp.call import Call
from modelapp.errors import QueueFull
from modelapp.lifecycle import Lifecycle
from modelapp.routes import Access


class Admission:
    """Admits requests and lets them go. Every `enter`, also one that raised, is followed by one `leave`.

    More than `max_in_flight` requests at a time get 429.
    """

    def __init__(self, lifecycle: Lifecycle, *, max_in_flight: int = 4096) -> None:
        self.lifecycle = lifecycle
        self.max_in_flight = max_in_flight

    def enter(self, call: Call, access: Access, name: str = "", *, always: bool = False) -> None:
        """Admit a request to the endpoint or model `name`. Raises RequestError.

        `always`: also while the replica takes no requests.
        """
        lifecycle = self.lifecycle
        if always:
            return
        if lifecycle.refusing:
            raise lifecycle.not_ready()
        if lifecycle.in_flight > self.max_in_flight:
            raise QueueFull(f"{self.max_in_flight} requests are in progress already", retry_after_s=1)

    def leave(self, call: Call) -> None:
        """The request is answered."""
