"""Sparsity-Induced Generative Adversarial Hashing: the estimator.

Hong Liu, "Sparse-Inductive Generative Adversarial Hashing for Nearest Neighbor Search",
arXiv 2306.06928, 2023. Networks and losses are in ``sigah_networks.py``, the training loop is in
``sigah_training.py``. Here is everything that runs without torch: encoding and decoding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_random_state, plain
from sigah.extras import require
from sigah.hashers.base import DecoderMixin, LinearHasher, TrainingInterrupted
from sigah.hashers.ridge import Moments, best_regression
from sigah.hashers.sigah_decoder import activate, gaussian_dictionary, sparse_units
from sigah.hashers.sigah_parameters import Parameters
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from sigah.hashers.sigah_training import Trained

__all__ = ["SiGAH"]

REFIT_ROWS = 1 << 15  # rows that the dictionary is refitted to
REFIT_BLOCK = 1 << 11  # rows whose sparse representations are held at a time


class SiGAH(DecoderMixin, LinearHasher):
    """Hash functions trained as the encoder of a generative adversarial network.

    A linear hash layer makes the code ``b = sgn(W^T x + c)``. A generator rebuilds the vector as
    ``A phi(V^T b + g)``: one sparse layer of ``n`` units and a dictionary, Gaussian and fixed while
    codes are learned. A discriminator, an auto-encoder whose reconstruction error is an energy,
    tells rebuilt vectors from real ones. After training only ``W`` and ``c`` are needed to encode.

    What makes these codes good are the start from ITQ, the pair term and the neighbour term.
    Discriminator and sparsity make no difference to them. The generator is there to rebuild
    vectors; in trials with more than 64 bits it also helped to find the nearest neighbours
    (``docs/results.md``, "What each term is worth", and ``docs/design-log.md``).
    :meth:`paper` is the paper's method; :meth:`semantic` is for vectors of the same kind.

    The generator's loss is Eq. (20) plus two terms of ours; a weight of 0 switches a term off::

        reconstruction * ||x - x^||^2                         Eq. (13)
        + sparsity     * |G(b)|                               Eq. (13)
        + graph        * sum_ij S_ij ||b_i - b_j||^2          Eq. (17)
        + adversarial  * D(x^)                                Eq. (20)
        + neighbor     * cross-entropy of in-batch neighbour distributions     (ours)
        + pair         * log-loss of "is among the n_neighbors nearest"        (ours)

    The neighbour term is what Eq. (17) becomes when it also repels: codes of a row must rank its
    close vectors before the others. The pair term has one learned offset for the whole data set,
    so that one Hamming radius means the same for every query.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_neighbors : int, default=1000
        The size of the neighbourhoods that the pair term learns, in rows of the training data
        (at most a twentieth of them is used).
    reconstruction, sparsity, graph, adversarial, neighbor, pair : float
        Weights of the terms above. Errors are means over coordinates of vectors scaled to unit
        mean variance, so no weight depends on the dimension or the code length. Where a batch holds
        k < 8 neighbours of a row, the pair term has sqrt(k / 8) of its weight. Beyond 64 bits,
        neighbour and pair term have 64 / r of their weights.
    sigma : float, default=0.7
        Width of the graph term's similarities, Eq. (17), in units of the root mean squared
        distance between the vectors of the first batch.
    margin : float, default=0.05
        The discriminator pushes energies of synthetic vectors up to this value, Eq. (16), in
        units of the mean variance.
    dictionary : {"refitted", "gaussian", "learned", "identity"}, default="refitted"
        The generator's A, Eq. (5). "gaussian" is the paper's, random and fixed. "refitted" trains
        with it too, and so to the same codes, and then replaces it by the ridge regression of
        32,768 vectors on their sparse representations, which rebuilds much better and takes
        ``4 d n`` bytes of a model file. "learned" trains it with all the rest, and "identity"
        leaves it out (n = d): the generators of the 4-layer and the 3-layer auto-encoder that
        Fig. 8 (d) compares with.
    dictionary_ratio : float or "auto", default="auto"
        Width n of the sparse layer, in dimensions of the vectors; not used by "identity". "auto"
        is 2, as in the paper, and 1,024 units where that is more: below 512 dimensions.
    activation : {"leaky_relu", "relu", "tanh", "sigmoid", "silu", "identity"}
        The generator's phi.
    relaxation : {"sign", "tanh"}, default="sign"
        How gradients pass the sign: "sign" trains on binary codes with the gradient of tanh
        (straight-through); "tanh" trains on relaxed codes, as the paper does.
    initialization : {"itq", "gaussian"}, default="itq"
        "itq" starts W at ITQ's rotation and V at zero; "gaussian" starts all weights at random,
        as the paper does.
    normalize : bool, default=False
        Scale the logits of each training batch to mean 0 and variance 1 before c is added. All bits
        are then about balanced, and equally relaxed. The scaling is folded into W and c.
    sharpness : float or "learned", default="learned"
        How steeply the cosine of two codes counts in the neighbour term. A learned one starts
        at 10.
    whitening : float or None, default=None
        Which vectors of a batch are near, in the graph, the neighbour and the pair term. None: by
        the distances of vectors. A number from 0 to 1: by their cosines at the mean, in the first
        256 principal axes, each divided by that power of the deviation along it. With 1, all axes
        count alike.
    learn_threshold : bool, default=True
        Learn c. Without it every hyperplane passes through the mean, as in Eq. (2).
    learning_rate : float
        Adam's step for the hash layer, decayed to 0 by a half cosine.
    generator_learning_rate : float
        Adam's step for generator and discriminator.
    weight_decay : float, default=0
        Added to the gradients of all weight matrices.
    batch_size : int, default=500
    generator_batch_size : int
        Rows of each batch that also pass generator and discriminator, the expensive part.
    n_steps : int
        Number of batches; the time that training takes does not grow with the data.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows, evaluate the loss on them every 50 steps, stop
        after ``patience`` evaluations without improvement and keep the best weights.
    validation_fraction : float, default=0.05
    patience : int, default=3
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
    verbose : bool, default=False
        Show a progress bar with the loss terms.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
        W, with the scaling of the data folded in.
    thresholds_ : ndarray of float64, shape (n_bits,)
        Minus c, with the centring of the data folded in.
    generator_weights_ : ndarray of float32, shape (n_bits, n)
        V.
    generator_bias_ : ndarray of float32, shape (n,)
        g.
    mean_ : ndarray of float32, shape (d,)
    scale_ : ndarray of float32, shape (1,)
        Root mean variance of the training data.
    dictionary_seed_ : ndarray of int64, shape (1,)
        From which :func:`gaussian_dictionary` makes A.
    dictionary_ : ndarray of float32, shape (d, n)
        A, where it was refitted or learned.
    history_ : list of dict
        The mean of every loss term, one entry every 50 steps.
    training_ : dict
        Summary of the fit. Codes of more than 64 bits that start from ITQ are compared with that
        start: ``training_["recall10@10"]`` has the shares of their ten nearest vectors that the
        codes of "start" and "learned" find for 2,000 rows held out of the training. W and c are
        the learned ones if those lead by more than one standard error, else the start's;
        ``training_["kept"]`` is "learned" or "start".
        ``training_["interrupted"]`` says whether Ctrl-C ended the fit early. Then :meth:`fit` has
        raised ``TrainingInterrupted``, a ``KeyboardInterrupt``, and the hasher keeps what it had
        learned until then.

    See Also
    --------
    sigah.ITQ : The start; it fits in seconds.

    References
    ----------
    Liu, arXiv 2306.06928, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import SiGAH
    >>> X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
    >>> hasher = SiGAH(n_bits=32, n_steps=20, random_state=0).fit(X)
    >>> codes = hasher.transform(X)
    >>> codes.shape, hasher.reconstruct(codes).shape
    ((500, 4), (500, 16))
    """

    name: ClassVar[str] = "sigah"
    fit_cost = "seconds"
    exceeds_dimension = True
    fitted_arrays = (
        "weights_",
        "thresholds_",
        "generator_weights_",
        "generator_bias_",
        "mean_",
        "scale_",
        "dictionary_seed_",
    )
    optional_arrays = ("dictionary_",)
    dictionary_: NDArray[np.float32]

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_neighbors: int = 1000,
        reconstruction: float = 0.3,
        sparsity: float = 0.003,
        graph: float = 0.0,
        adversarial: float = 0.03,
        neighbor: float = 0.1,
        pair: float = 0.1,
        margin: float = 0.05,
        sigma: float = 0.7,
        dictionary: str = "refitted",
        dictionary_ratio: float | str = "auto",
        activation: str = "leaky_relu",
        relaxation: str = "sign",
        initialization: str = "itq",
        normalize: bool = False,
        sharpness: float | str = "learned",
        whitening: float | None = None,
        learn_threshold: bool = True,
        learning_rate: float = 4e-3,
        generator_learning_rate: float = 1e-2,
        weight_decay: float = 0.0,
        batch_size: int = 500,
        generator_batch_size: int = 64,
        n_steps: int = 1000,
        early_stopping: bool = False,
        validation_fraction: float = 0.05,
        patience: int = 3,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.reconstruction = reconstruction
        self.sparsity = sparsity
        self.graph = graph
        self.adversarial = adversarial
        self.neighbor = neighbor
        self.pair = pair
        self.margin = margin
        self.sigma = sigma
        self.dictionary = dictionary
        self.dictionary_ratio = dictionary_ratio
        self.activation = activation
        self.relaxation = relaxation
        self.initialization = initialization
        self.normalize = normalize
        self.sharpness = sharpness
        self.whitening = whitening
        self.learn_threshold = learn_threshold
        self.learning_rate = learning_rate
        self.generator_learning_rate = generator_learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.generator_batch_size = generator_batch_size
        self.n_steps = n_steps
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def paper(cls, n_bits: int = 64, **parameters: Any) -> Self:
        """The paper read literally: Eq. (20) and (21), tanh relaxation, Gaussian weights.

        The text that survives has lost most of its numbers. Those below were chosen once, on
        queries held out of training sets (``docs/methods.md``). Any of them can be overridden by
        keyword.

        The weight decay decides. It keeps the generator's V small, so that rebuilding pays only
        with relaxed codes near -1 and 1, where they equal their signs.

        What the text leaves open, or says otherwise: errors and energies are means over
        coordinates, not sums. The steps shrink to 0 by a half cosine. W starts with variance 1/d,
        V with 1/r, A with 1/n, and a layer of the discriminator with 1 over its inputs. ``sigma``
        is in units of the root mean squared distance within the first batch. The decay holds for
        weight matrices, not for biases.

        See Also
        --------
        SiGAH : the same networks with terms and a start of ours, which find more neighbours.

        Examples
        --------
        >>> from sigah import SiGAH
        >>> SiGAH.paper(n_bits=32).relaxation
        'tanh'
        """
        stated: dict[str, Any] = {
            "reconstruction": 1.0,
            "sparsity": 0.01,
            "graph": 1e-3,
            "adversarial": 0.1,
            "margin": 0.05,
            "dictionary": "gaussian",
            "dictionary_ratio": 2,
            "neighbor": 0.0,
            "pair": 0.0,
            "relaxation": "tanh",
            "initialization": "gaussian",
            "learn_threshold": False,  # Eq. (2)
            "learning_rate": 1e-2,
            "generator_learning_rate": 1e-2,
            "weight_decay": 1e-3,
            "batch_size": 128,
            "generator_batch_size": 128,
            "n_steps": 2000,
        }
        return cls(n_bits, **{**stated, **parameters})

    @classmethod
    def semantic(cls, n_bits: int = 64, **parameters: Any) -> Self:
        """For vectors of the same kind, rather than the nearest ones: deep features of images.

        Near vectors of different kinds are not told from near ones of the same kind by distance
        alone, so the order of distances is worth less here. The neighbour term looks at the very
        nearest vectors of a batch only, and the pair term, which learns a radius, is left out.
        Vectors are compared by cosine, after a few axes of large variance have lost some of their
        weight (``whitening``). Codes are relaxed, logits normalised, and the sharpness is fixed.
        Any of these settings can be overridden by keyword.

        The fewer kinds there are, the less sharply codes should tell vectors apart: with ten kinds,
        a ``sharpness`` of 5 or 6 is better than 8, with a hundred kinds 10.

        See Also
        --------
        SiGAH : for the nearest neighbours by distance.
        CroVCA : codes for vectors of the same kind, by a layer that is not linear.

        Notes
        -----
        ``docs/images.md`` says how the settings were chosen, and compares the methods.

        Examples
        --------
        >>> from sigah import SiGAH
        >>> SiGAH.semantic(n_bits=32, metric="cosine").n_neighbors
        50
        """
        stated: dict[str, Any] = {
            "n_neighbors": 50,
            "neighbor": 3.0,
            "pair": 0.0,
            "relaxation": "tanh",
            "normalize": True,
            "sharpness": 8.0,
            "whitening": 0.5,
            "batch_size": 1000,
        }
        return cls(n_bits, **{**stated, **parameters})

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        require_training(self.dictionary)
        from sigah.hashers.sigah_training import train  # torch is loaded by training alone

        rows = rows.in_memory()
        trained = train(Parameters(**self.get_params()), rows, random_state)
        self._keep(trained, rows, random_state)

    def partial_fit(self, X: Any, y: object = None, *, n_steps: int | None = None) -> Self:
        """Continue learning from new vectors, where :meth:`fit` or a model file left off.

        Training continues from W, c, V, g, the dictionary, the centre and the scale, so that codes
        change as little as they must. Adam begins anew at a quarter of the learning rates, which
        a half cosine takes to 0 again. The codes change, and so does the fingerprint: re-encode
        everything.

        Parameters
        ----------
        X : array-like, shape (n, d)
            The vectors to be served from now on: new ones, and old ones that remain.
        y : ignored
        n_steps : int, optional
            Batches; default: a fifth of ``n_steps``.

        Returns
        -------
        self

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import SiGAH
        >>> X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
        >>> hasher = SiGAH(n_bits=32, n_steps=20, random_state=0).fit(X[:250])
        >>> before = hasher.fingerprint
        >>> hasher.partial_fit(X).fingerprint != before
        True
        """
        if not hasattr(self, "weights_"):
            return self.fit(X)
        with self._all_or_nothing():
            self._continue(X, plain(n_steps))
        return self

    def _continue(self, X: Any, n_steps: int | None) -> None:
        require_training(self.dictionary)
        from sigah.hashers.sigah_training import Start, train

        self._take_plain_parameters()
        rows = self._rows(X, reset=False, learn=True).in_memory()
        random_state = check_random_state(self.random_state)
        parameters = Parameters(**self.get_params())
        quieter = replace(
            parameters,
            learning_rate=parameters.learning_rate / 4,
            generator_learning_rate=parameters.generator_learning_rate / 4,
            n_steps=max(1, parameters.n_steps // 5) if n_steps is None else n_steps,
        )
        asked = self.n_bits, sparse_units(self.dictionary, self.dictionary_ratio, rows.dim)
        if asked != (learned := self.generator_weights_.shape):
            raise ValueError(
                f"partial_fit continues with {learned[0]} bits and {learned[1]} units in the sparse"
                f" layer, but n_bits, dictionary and dictionary_ratio now mean {asked[0]} and"
                f" {asked[1]}: set them back, or learn anew with fit"
            )
        scale = float(self.scale_[0])
        mean = self.mean_.astype(np.float64)
        start = Start(
            mean=mean,
            scale=scale,
            W=self.weights_ * np.float32(scale),
            c=(mean @ self.weights_ - self.thresholds_).astype(np.float32),
            V=self.generator_weights_,
            g=self.generator_bias_,
            # learned from where it stands; not there after a fit with other settings
            A=getattr(self, "dictionary_", None) if self.dictionary == "learned" else None,
            dictionary_seed=int(self.dictionary_seed_[0]),
        )
        trained = train(quieter, rows, random_state, start)
        trained = replace(
            trained,
            history=[*getattr(self, "history_", []), *trained.history],
            summary={**trained.summary, "continued": True},
        )
        self._keep(trained, rows, random_state)

    def _keep(self, trained: Trained, rows: Rows, random_state: np.random.RandomState) -> None:
        """Set the fitted attributes; the dictionary is refitted to a sample of ``rows``.

        Raises
        ------
        TrainingInterrupted
            At the end, if Ctrl-C ended the training early.
        """
        # fold centring and scaling: (x - mean) W / scale + c >= 0  <=>  x weights - thresholds >= 0
        self.weights_ = trained.W / trained.scale
        self.thresholds_ = trained.mean @ self.weights_ - trained.c
        self.generator_weights_ = trained.V
        self.generator_bias_ = trained.g
        self.mean_ = trained.mean.astype(np.float32)
        self.scale_ = np.array([trained.scale], np.float32)
        self.dictionary_seed_ = np.array([trained.dictionary_seed])
        if hasattr(self, "dictionary_"):  # of an earlier fit with other settings
            del self.dictionary_
        if trained.A is not None:
            self.dictionary_ = trained.A
        elif self.dictionary == "refitted":
            self.dictionary_ = self._refitted_dictionary(rows, random_state)
        self.history_ = trained.history
        self.training_ = trained.summary
        if trained.summary["interrupted"]:
            raise TrainingInterrupted(f"training ended after {trained.summary['steps']} steps")

    def _refitted_dictionary(
        self, rows: Rows, random_state: np.random.RandomState
    ) -> NDArray[np.float32]:
        """A that best rebuilds x from z: the ridge regression of x on z."""
        chosen = random_state.permutation(len(rows))[:REFIT_ROWS]
        fifth = len(chosen) // 5
        rest, held_out = (
            self._moments(rows, np.sort(part)) for part in (chosen[fifth:], chosen[:fifth])
        )
        return best_regression(rest, held_out).T.astype(np.float32)

    def _moments(self, rows: Rows, chosen: NDArray[np.intp]) -> Moments:
        """Moments of the sparse representations of some rows with the rows themselves."""
        n = len(self.generator_bias_)
        moments = Moments(np.zeros((n, n)), np.zeros((n, rows.dim)), 0)
        for first in range(0, len(chosen), REFIT_BLOCK):
            X = rows.take(chosen[first : first + REFIT_BLOCK])
            Z = self._represent(np.where(self._bits(X), np.float32(1), np.float32(-1)))
            moments += Moments.of(Z, (X - self.mean_) / self.scale_)
        return moments

    def _represent(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sparse representations z = phi(V^T b + g), ``(m, n)``."""
        return activate(
            self.activation, code_signs @ self.generator_weights_ + self.generator_bias_
        )

    def _dictionary(self) -> NDArray[np.float32] | None:
        """A, ``(d, n)``; None where the generator has none."""
        if self.dictionary == "identity":
            return None
        if self.dictionary == "gaussian":
            d, n = len(self.mean_), len(self.generator_bias_)
            return gaussian_dictionary(d, n, int(self.dictionary_seed_[0]))
        return self.dictionary_

    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        Z = self._represent(code_signs)
        A = self._dictionary()
        if A is not None:
            Z = Z @ A.T
        return self.mean_ + self.scale_ * Z


def require_training(dictionary: str) -> None:
    """Miss the libraries of training before it begins, not after it."""
    require("torch", "fitting SiGAH", "train")
    if dictionary == "refitted":
        require("scipy.linalg", "fitting SiGAH", "train")
