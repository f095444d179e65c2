"""Train a network: python train.py --config configs/deeplab.py [--config.seed 1 ...]."""

from jaxseg.system import interrupts

if __name__ == "__main__":
    interrupts.watch()
    from jaxseg.cli.commands import train

    train()
