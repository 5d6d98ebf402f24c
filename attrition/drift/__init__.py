"""Does the model still hold, is another one better, and what changed. Pure: arrays in, numbers out.

``comparison`` sets two models, or two samples of clients, side by side, and ``unlabelled`` says what can be said
without outcomes: both inform. The rest is sequential evidence, each part with its guarantee: ``bets`` (harm, and the
proof that a promotion needs), ``experts`` (what a refit would say), ``detector`` (when a refit is due), on ``logistic``
fits of their own.
"""

from attrition.drift.bets import Promotion, betting_upper_bound, lifetime_level
from attrition.drift.comparison import changes, losses, mean_interval
from attrition.drift.detector import moved, recall, start, update
from attrition.drift.logistic import expit, logit
from attrition.drift.order import order
from attrition.drift.state import Config, Evidence, State

__all__ = [
    "Config",
    "Evidence",
    "Promotion",
    "State",
    "betting_upper_bound",
    "changes",
    "expit",
    "lifetime_level",
    "logit",
    "losses",
    "mean_interval",
    "moved",
    "order",
    "recall",
    "start",
    "update",
]
