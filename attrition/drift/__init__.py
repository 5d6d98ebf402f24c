"""Does the model still hold, is another one better, and what changed. Pure: arrays in, numbers out.

``comparison`` sets two samples of losses, or of clients, side by side. The rest is sequential evidence, each part
with its guarantee: ``bets`` (harm, and the proof that a promotion needs), ``experts`` (what a refit would say),
``detector`` (when a refit is due), on ``logistic`` fits of their own.
"""

from attrition.drift.bets import Promotion, betting_upper_bound, lifetime_level
from attrition.drift.comparison import Comparison, better, changes, losses, worse
from attrition.drift.detector import start, update
from attrition.drift.logistic import expit, logit
from attrition.drift.order import order
from attrition.drift.state import Config, Evidence, State

__all__ = [
    "Comparison",
    "Config",
    "Evidence",
    "Promotion",
    "State",
    "better",
    "betting_upper_bound",
    "changes",
    "expit",
    "lifetime_level",
    "logit",
    "losses",
    "order",
    "start",
    "update",
    "worse",
]
