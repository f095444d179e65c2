"""A classifier for more classes, made of one for fewer.

W is the (D, K) kernel of the old classifier, w_k its columns, b its biases; class 0 is the
background. N classes are new. Without further preparation they begin as the background, and share
its probability with it (MiB):

    w_c = w_0,    b_c = b_0' = b_0 - log(N + 1)

Or they begin as what suits the new data best among all mixtures of old classes, channel by channel
(NeST): only M (N, K, D), P (N, K), the new biases, and the background's m (D,) and p are trained in

    w_c = sum_k P[c, k] (M[c, k] * w_k),    w_0' = p (m * w_0)

M begins as the importance of each channel to the old classes that the old network sees in pixels
of a new one, P as the softmax of its sums:

    M[c, k, d] = mean over pixels of class c of 1[f_d w_kd > 0] q_k,    P[c] = softmax_k sum_d M

with f the classifier's input and q the old network's probabilities. After that, w_0' gets the
length of w_0, the vector of new biases that of the old ones, and new columns the mean length of
the old ones.

Source: MiB, Cermelli et al., CVPR 2020, arXiv:2002.00718, as in fcdl94/MiB; NeST, Xie et al., Early
Preparation Pays Off: New Classifier Pre-tuning for Class Incremental Semantic Segmentation, ECCV
2024, arXiv:2407.14142. Checked against the outputs of zhengyuan-xie/ECCV24_NeST: importance,
mixture and final lengths agree to 3e-7. Differences: pixels are those of the grid of f, and as many
batches are looked at as the pre-tuning has, instead of maps of 128 x 128 of all images.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import keystr

from jaxseg.errors import UserError

Tree = Any  # pytrees of arrays have no useful type


@dataclasses.dataclass(frozen=True)
class Incremental:
    """A run whose network is that of a finished run, with more classes.

    Attributes:
        run: Folder of the finished run; its classes are the first ones of this run, and class 0 is
            the background. None = a run of its own.
        pretuning: Steps in which only the mixture of old classes that makes the new ones is
            trained, before step 0; 0 = new classes begin as the background.
        importance: Whether the mixture begins at the channels' importance instead of at random.
        learning_rate: Of the pre-tuning: SGD with Nesterov's momentum 0.9, falling with power 0.9.
        layer: Path of the classifier, a convolution of 1 x 1 pixel.
    """

    run: str | None = dataclasses.field(default=None, metadata={"path": True})
    pretuning: int = dataclasses.field(default=0, metadata={"least": 0})
    importance: bool = True
    learning_rate: float = dataclasses.field(default=0.1, metadata={"above": 0})
    layer: str = "head"


class Mixture(NamedTuple):
    """What the pre-tuning trains.

    Attributes:
        importance: M, (N, K, D).
        projection: P, (N, K).
        bias: (N,) of the new classes.
        background: m, (D,).
        factor: p, ().
    """

    importance: Array
    projection: Array
    bias: Array
    background: Array
    factor: Array

    def kernel(self, old: Array) -> Array:
        """(D, K) of the old classes -> (D, K + N)."""
        new = jnp.einsum("nk,nkd,dk->dn", self.projection, self.importance, old)
        first = self.factor * (self.background[:, None] * old[:, :1])
        return jnp.concatenate((first, old[:, 1:], new), -1)

    def finished(self, old: Array, bias: Array) -> tuple[Array, Array]:
        """Kernel (D, K + N) and biases (K + N,), with the lengths of the old ones.

        Args:
            old: (D, K).
            bias: (K,) of the old classes.
        """
        kernel, classes = self.kernel(old), old.shape[1]
        length = jnp.linalg.norm
        first = kernel[:, :1] * (length(old[:, 0]) / length(kernel[:, 0]))
        new = kernel[:, classes:]
        new = new * (length(old, axis=0).mean() / length(new, axis=0).mean())
        size = length(self.bias)
        biases = self.bias * jnp.where(size > 0, length(bias) / jnp.where(size > 0, size, 1.0), 1.0)
        return jnp.concatenate((first, old[:, 1:], new), -1), jnp.concatenate((bias, biases))


def beginning(importance: Array, bias: Array) -> Mixture:
    """The mixture before the pre-tuning.

    Args:
        importance: M, (N, K, D).
        bias: (K + N,) of all classes.
    """
    _, old, depth = importance.shape
    projection = jax.nn.softmax(importance.sum(-1))
    return Mixture(importance, projection, bias[old:], jnp.ones(depth), jnp.ones(()))


def random_beginning(key: Array, new: int, kernel: Array, bias: Array) -> Mixture:
    """The same with random M and P (He et al. 2015, as the authors' code draws them).

    Args:
        key: Of the draws.
        new: N.
        kernel: (D, K) of the old classes.
        bias: (K + N,) of all classes.
    """
    (depth, old), keys = kernel.shape, jax.random.split(key)
    importance = jax.random.normal(keys[0], (new, old, depth)) * math.sqrt(2 / (new * depth))
    projection = jax.random.normal(keys[1], (new, old)) * math.sqrt(2 / new)
    return beginning(importance, bias)._replace(projection=projection)


def importance_sums(
    features: Array, probabilities: Array, label: Array, counted: Array, kernel: Array, new: int
) -> tuple[Array, Array]:
    """Sums over pixels of which `M` is the mean: (N, K, D), and the number of pixels (N,).

    Args:
        features: (..., D) what the classifier reads.
        probabilities: (..., K) of the old network.
        label: (...) class ids, new ones from K on.
        counted: (...) bool, pixels that count.
        kernel: (D, K) of the old classes.
        new: N.
    """
    old = kernel.shape[1]
    of_class = (label[..., None] == old + jnp.arange(new)) & counted[..., None]
    of_class = of_class.astype(jnp.float32)

    def where(seen: Array) -> Array:
        return jnp.einsum("...n,...k,...d->nkd", of_class, probabilities, seen.astype(jnp.float32))

    # f w > 0 where both are above 0 or both below: K D products of each pixel are not needed.
    sums = where(features > 0) * (kernel.T > 0) + where(features < 0) * (kernel.T < 0)
    return sums, of_class.sum(tuple(range(label.ndim)))


def grown(old: Tree, like: Tree, *, classes: tuple[int, int]) -> Tree:
    """Parameters of a network with more classes, of which new ones begin as the background.

    All classifiers grow, those of auxiliary heads, too: whatever has one column per class.

    Args:
        old: Parameters of the network with K classes.
        like: Parameters, or their shapes, of the same network with K + N classes.
        classes: K and K + N.

    Raises:
        UserError: The networks differ in something else.
    """
    few, many = classes
    theirs, ours = (
        {keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
        for leaves in map(jax.tree.leaves_with_path, (old, like))
    )
    if theirs.keys() != ours.keys():
        name = sorted(theirs.keys() ^ ours.keys())[0]
        raise UserError(
            f"{name} is not in both networks: the old one and the new one have to be the same, "
            "up to their number of classes."
        )
    found = []
    for name, leaf in theirs.items():
        wanted = tuple(ours[name].shape)
        if leaf.shape == wanted:
            found.append(leaf)
        elif leaf.shape[-1:] == (few,) and wanted == (*leaf.shape[:-1], many):
            columns = jnp.concatenate((leaf, *[leaf[..., :1]] * (many - few)), -1)
            if leaf.ndim == 1:
                alike = jnp.arange(many).at[1:few].set(-1) >= 0
                columns = jnp.where(alike, columns - math.log(many - few + 1), columns)
            found.append(columns)
        else:
            raise UserError(
                f"{name} is {tuple(leaf.shape)} in the old network and {wanted} in the new one: "
                f"only a layer with one column per class ({few} and {many}) may differ."
            )
    tree: Tree = jax.tree.unflatten(jax.tree.structure(like), found)
    return tree
