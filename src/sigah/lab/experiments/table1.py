"""Table 1: retrieval on GIST1M, Deep1M and Tiny100K."""

from __future__ import annotations

from sigah.lab.experiments.curves import tables_and_curves
from sigah.lab.experiments.experiment import Case, Column, Experiment

__all__ = ["COMPARED", "TABLE1"]

COMPARED = (
    Case("LSH", "lsh", style="lsh"),
    Case("ITQ", "itq", style="itq"),
    Case("SpH", "spherical", style="spherical"),
    Case("BA", "binary_autoencoder", style="binary_autoencoder"),
    Case("SGH", "stochastic_generative", style="stochastic_generative"),
    Case("OCH", "ordinal_constrained", style="ordinal_constrained"),
    Case("SiGAH", "sigah", style="sigah"),
    Case("SiGAH, as the paper reads", "sigah.paper", style="sigah.paper"),
)

TABLE1 = Experiment(
    name="table1",
    title="Retrieval on large sets of descriptors",
    about="Table 1 of the paper: its mAP (pr_area) and precision of the first 100 at 32 and 64"
    " bits, K = 1,000 Euclidean neighbours. QoLSH has as many bits as dimensions and stands beside"
    " the longest codes, as in the paper.",
    cases=(*COMPARED, Case("QoLSH (d bits)", "qolsh", bits="dim", style="qolsh")),
    columns=(
        Column("pr_area", 32),
        Column("pr_area", 64),
        Column("precision@100", 32),
        Column("precision@100", 64),
    ),
    data=("gist1m", "deep1m", "tiny-100k"),
    open=True,
    view=tables_and_curves,
    paper={
        "gist1m": {
            "LSH": (0.0897, 0.1306, 0.1841, 0.2711),
            "ITQ": (0.1777, 0.2090, 0.3478, 0.3976),
            "SpH": (0.1542, 0.1972, 0.3292, 0.4150),
            "BA": (0.1715, 0.1950, 0.3426, 0.3858),
            "SGH": (0.1905, 0.2112, 0.3812, 0.4155),
            "OCH": (0.1675, 0.2355, 0.3409, 0.4437),
            "SiGAH": (0.2076, 0.2594, 0.3979, 0.4837),
            "QoLSH (d bits)": (None, 0.2691, None, 0.4689),
        },
        "deep1m": {
            "LSH": (0.0875, 0.1665, 0.2359, 0.4090),
            "ITQ": (0.1796, 0.2926, 0.4106, 0.5924),
            "SpH": (0.1182, 0.2183, 0.3035, 0.4993),
            "BA": (0.1919, 0.2975, 0.4266, 0.6090),
            "SGH": (0.1973, 0.2872, 0.4438, 0.5969),
            "OCH": (0.1754, 0.2829, 0.4121, 0.5908),
            "SiGAH": (0.2156, 0.3307, 0.4796, 0.6510),
            "QoLSH (d bits)": (None, 0.5096, None, 0.8492),
        },
        "tiny-100k": {
            "LSH": (0.0596, 0.1026, 0.1434, 0.2383),
            "ITQ": (0.1299, 0.1558, 0.2999, 0.3504),
            "SpH": (0.1135, 0.1680, 0.2800, 0.3993),
            "BA": (0.1114, 0.1524, 0.2749, 0.3460),
            "SGH": (0.1393, 0.1656, 0.3233, 0.3794),
            "OCH": (0.1266, 0.1893, 0.3009, 0.4088),
            "SiGAH": (0.1576, 0.2425, 0.3685, 0.5046),
            "QoLSH (d bits)": (None, 0.1569, None, 0.3313),
        },
    },
)
