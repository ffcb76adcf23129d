"""Who may be sent what, and when: pure functions and state, without a clock or a socket."""

from gatewayd.queue.schedule.destination import Destination, Part, Suspension
from gatewayd.queue.schedule.schedule import BROKEN, End, Open, Refusal, Schedule, Serve
from gatewayd.queue.schedule.settings import TransportSettings
from gatewayd.queue.schedule.slow_line import is_complaint
from gatewayd.queue.schedule.turns import Turn
from gatewayd.queue.schedule.window import Feedback, Window

__all__ = [
    "BROKEN",
    "Destination",
    "End",
    "Feedback",
    "Open",
    "Part",
    "Refusal",
    "Schedule",
    "Serve",
    "Suspension",
    "TransportSettings",
    "Turn",
    "Window",
    "is_complaint",
]
