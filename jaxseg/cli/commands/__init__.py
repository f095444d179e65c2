"""The commands themselves, one function each, by what they are about."""

from jaxseg.cli.commands.datasets import border as border
from jaxseg.cli.commands.datasets import class_weights as class_weights
from jaxseg.cli.commands.datasets import data as data
from jaxseg.cli.commands.datasets import new as new
from jaxseg.cli.commands.datasets import pack as pack
from jaxseg.cli.commands.datasets import polsar as polsar
from jaxseg.cli.commands.maps import polygons as polygons
from jaxseg.cli.commands.maps import predict as predict
from jaxseg.cli.commands.robustness import robustness as robustness
from jaxseg.cli.commands.runs import card as card
from jaxseg.cli.commands.runs import doubts as doubts
from jaxseg.cli.commands.runs import evaluate as evaluate
from jaxseg.cli.commands.runs import export as export
from jaxseg.cli.commands.runs import models as models
from jaxseg.cli.commands.runs import report as report
from jaxseg.cli.commands.runs import weights as weights
from jaxseg.cli.commands.training import bench as bench
from jaxseg.cli.commands.training import plan as plan
from jaxseg.cli.commands.training import train as train
