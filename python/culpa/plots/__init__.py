"""Pictures of blame: through the network, by input, by example, and over the epochs.

They need matplotlib: ``pip install "culpa[plots]"``. Red is blame for being too high (lower it, and
the loss falls), blue for being too low; both can be told apart by colour-blind eyes.
"""

from culpa.plots._examples import examples
from culpa.plots._inputs import inputs
from culpa.plots._network import network
from culpa.plots._signals import signals

__all__ = ["examples", "inputs", "network", "signals"]
