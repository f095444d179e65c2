"""Train a network: python train.py --config configs/deeplab.py [--config.seed 1 ...]."""

from jaxseg.cli.commands import train

if __name__ == "__main__":
    train()
