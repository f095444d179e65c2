"""What a training step costs on machines that are not there, read from the compiler's program."""

from jaxseg.planning.plan import Plan, plan
from jaxseg.planning.search import search
from jaxseg.planning.topology import topology

__all__ = ["Plan", "plan", "search", "topology"]
