"""The table of docs/claims.md: what the paper says about SiGAH, and what its recipe does here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import fmean

from sigah.lab.experiments import EXPERIMENTS, Measured, Store
from sigah.lab.experiments.fig4 import RATIOS
from sigah.lab.experiments.fig7 import MARGINS
from sigah.lab.experiments.fig8 import GENERATORS, TERMS, weights
from sigah.lab.experiments.table4 import WITH, WITHOUT
from sigah.lab.experiments.views import entry, paired
from sigah.lab.report.markdown import pipe_table

ROOT = Path(__file__).resolve().parents[2]
OURS = "SiGAH, as the paper reads"
RIVALS = ("LSH", "ITQ", "SpH", "BA", "SGH", "OCH")
REBUILDING = ("BA", "SGH")
LENGTHS = (32, 64)
SURE = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t at 5 %, two-sided, by number of seeds
SMALL = 0.01  # of map and of relative errors, five times what seeds change
CURVES = "curves without numbers"

Line = tuple[str, str, str, str]  # claim, the paper's figure, ours, verdict


@cache
def measured(experiment: str) -> dict[str, Measured]:
    """What is measured of an experiment, by data set; samples and parts are left out."""
    found = Store(ROOT / "results").collect(EXPERIMENTS[experiment])
    return {str(one.data["name"]): one for one in found if not one.part}


def mean(one: Measured, label: str, bits: int, metric: str) -> float | None:
    """A figure of a case, over its seeds."""
    return entry(one.runs.get((label, bits), ()), metric).mean


def compared(one: Measured, labels: Iterable[str], metric: str) -> dict[str, float]:
    """A figure of several cases at 64 bits over the seeds that all share; empty without any."""
    found = {
        label: {
            run["seed"]: run["metrics"][metric]
            for run in one.runs.get((label, 64), ())
            if metric in run["metrics"]
        }
        for label in labels
    }
    seeds = set.intersection(*(set(values) for values in found.values()))
    if not seeds:
        return {}
    return {label: fmean(values[seed] for seed in seeds) for label, values in found.items()}


def listed(*figures: Mapping[str, float], names: Mapping[str, str] | None = None) -> str:
    """Figures behind their names; those of several metrics with a stroke between them."""
    return ", ".join(
        f"{names[label] if names else label} {'/'.join(f'{one[label]:.3f}' for one in figures)}"
        for label in figures[0]
    )


def sets() -> Iterator[tuple[str, Measured]]:
    """Every data set of Tables 1 and 2 that the recipe is measured on."""
    everything = measured("table1") | measured("table2")
    for name, one in everything.items():
        if any(mean(one, OURS, bits, "pr_area") for bits in LENGTHS):
            yield name, one


def ahead(metric: str) -> tuple[str, str]:
    """Where the recipe leads the paper's rivals, set by set."""
    said, won, tried = [], 0, 0
    for name, one in sets():
        for bits in LENGTHS:
            ours = mean(one, OURS, bits, metric)
            theirs = {rival: mean(one, rival, bits, metric) for rival in RIVALS}
            known = {rival: value for rival, value in theirs.items() if value is not None}
            if ours is None or not known:
                continue
            best = max(known, key=lambda rival: known[rival])
            won, tried = won + (ours > known[best]), tried + 1
            said.append(f"{name} {bits}: {ours:.3f}, {best} {known[best]:.3f}")
    return "; ".join(said), f"holds in {won} of {tried}"


def second_places() -> tuple[str, str]:
    """Which rival comes first among the rivals by pr_area."""
    firsts = []
    for name, one in sets():
        for bits in LENGTHS:
            values = {rival: mean(one, rival, bits, "pr_area") for rival in RIVALS}
            known = {rival: value for rival, value in values.items() if value is not None}
            if known and mean(one, OURS, bits, "pr_area") is not None:
                firsts.append((f"{name} {bits}", max(known, key=lambda rival: known[rival])))
    right = sum(rival in REBUILDING for _, rival in firsts)
    said = "; ".join(f"{where}: {rival}" for where, rival in firsts)
    return said, f"holds in {right} of {len(firsts)}"


def on_mnist(experiment: str, labels: Iterable[str], metric: str) -> dict[str, float]:
    """:func:`compared` on MNIST; empty if the experiment is not measured there."""
    one = measured(experiment).get("mnist")
    return compared(one, labels, metric) if one else {}


def ranked(experiment: str, labels: Iterable[str]) -> tuple[dict[str, float], dict[str, float]]:
    """pr_area, which the paper prints, and map, by which its claims are judged here."""
    labels = list(labels)
    return on_mnist(experiment, labels, "pr_area"), on_mnist(experiment, labels, "map")


def dictionary_sizes() -> Iterator[Line]:
    """Fig. 4: larger dictionaries rebuild and retrieve better, up to n = 2 d."""
    names = {f"n = {size}": size for size in RATIOS}
    errors = on_mnist("fig4", names, "relative_reconstruction_error")
    areas, ranks = ranked("fig4", names)
    if not errors:
        return
    falls = errors["n = 2d"] < errors["n = d/2"] < errors["n = d/8"]
    claim = "a larger dictionary rebuilds better (Fig. 4 a)"
    yield claim, CURVES, listed(errors, names=names), "holds" if falls else "does not hold"
    rises = ranks["n = d/8"] + SMALL < ranks["n = 2d"]
    level = abs(ranks["n = 4d"] - ranks["n = 2d"]) < SMALL
    early = abs(ranks["n = 2d"] - ranks["n = d/2"]) < SMALL
    verdict = (
        "does not hold"
        if not rises
        else "holds"
        if level and not early
        else ("holds, but it is level from n = d/2 already" if level else "it rises beyond 2d")
    )
    claim = "a larger dictionary retrieves better, level from n = 2d on (Fig. 4 b)"
    yield claim, CURVES, listed(areas, ranks, names=names), verdict


def rebuilding() -> Iterator[Line]:
    """Fig. 6: SiGAH rebuilds better than BA and SGH."""
    rivals, recipe = ("BA", "SGH", "QoLSH (d bits)"), "SiGAH, n = 2d"
    values = on_mnist("fig6", (*rivals, recipe, "SiGAH()"), "relative_reconstruction_error")
    if not values:
        return
    best = min(values[rival] for rival in REBUILDING)
    verdict = "holds" if values[recipe] < best else "does not hold for the recipe"
    if values[recipe] > best > values["SiGAH()"]:
        verdict += "; it does for `SiGAH()`, which refits the dictionary"
    yield (
        "vectors are rebuilt better than by BA and SGH (Fig. 6)",
        "pictures",
        listed(values),
        verdict,
    )


def discriminator() -> Iterator[Line]:
    """Table 4: training against a discriminator raises mAP."""
    for name, one in measured("table4").items():
        figures = EXPERIMENTS["table4"].paper.get(name, {})
        for place, bits in enumerate(LENGTHS):
            runs = one.runs.get((WITH, bits), ()), one.runs.get((WITHOUT, bits), ())
            found = {
                text: paired(*runs, metric)
                for text, metric in (("mAP", "pr_area"), ("true mAP", "map"))
            }
            known = {text: pair for text, pair in found.items() if pair is not None}
            if not known:
                continue
            said = "; ".join(
                f"{text} {pair.mean:+.4f} (t = {pair.t:.1f}, {pair.seeds} seeds)"
                for text, pair in known.items()
            )
            sure = [pair.mean > 0 for pair in known.values() if abs(pair.t) > SURE[pair.seeds]]
            verdict = (
                "no difference beyond chance"
                if not sure
                else (
                    "holds"
                    if all(sure)
                    else "does not hold"
                    if not any(sure)
                    else "depends on the metric"
                )
            )
            paper = "gains of 0 to .019 on its other sets"
            if figures:
                paper = f"{figures[WITH][place] - figures[WITHOUT][place]:+.4f}"
            yield (
                f"the discriminator raises mAP (Table 4; {name}, {bits} bits)",
                paper,
                said,
                verdict,
            )


def margins() -> Iterator[Line]:
    """Fig. 7: a large margin harms."""
    names = {f"m = {margin:g}": f"{margin:g}:" for margin in MARGINS}
    areas, ranks = ranked("fig7", names)
    errors = on_mnist("fig7", names, "relative_reconstruction_error")
    if not errors:
        return
    falls = ranks["m = 2"] < ranks["m = 0.05"] - SMALL
    claim = "mAP falls quickly beyond some margin (Fig. 7 a)"
    yield claim, CURVES, listed(areas, ranks, names=names), "holds" if falls else "does not hold"
    rises = errors["m = 2"] > errors["m = 0.05"] + SMALL
    claim = "a larger margin makes the error larger (Fig. 7 d)"
    yield claim, CURVES, listed(errors, names=names), "holds" if rises else "does not hold"


def activations() -> Iterator[Line]:
    """Table 5: LeakyReLU is the best activation."""
    figures = EXPERIMENTS["table5"].paper["mnist"]
    areas, ranks = ranked("table5", figures)
    if not ranks:
        return
    best = max(ranks, key=lambda label: ranks[label])
    close = [label for label, value in ranks.items() if value > ranks[best] - SMALL]
    verdict = (
        "holds"
        if close == ["LeakyReLU"]
        else (
            f"level with {', '.join(label for label in close if label != 'LeakyReLU')}"
            if "LeakyReLU" in close
            else f"does not hold: {best} is ahead"
        )
    )
    paper = listed({label: row[0] for label, row in figures.items() if row[0]})
    yield "LeakyReLU is the best activation (Table 5)", paper, listed(areas, ranks), verdict


def loss_weights() -> Iterator[Line]:
    """Fig. 8 (a) to (c): large weights harm."""
    for letter, (term, default) in zip("abc", TERMS.items(), strict=True):
        names = {f"{term} = {weight:g}": f"{weight:g}:" for weight in weights(default)}
        areas, ranks = ranked("fig8", names)
        if ranks:
            falls = ranks[f"{term} = 1"] < ranks[f"{term} = {default:g}"] - SMALL
            claim = f"mAP falls with a larger weight of the {term} term (Fig. 8 {letter})"
            said = listed(areas, ranks, names=names)
            yield claim, CURVES, said, "holds" if falls else "does not hold"


def generators() -> Iterator[Line]:
    """Fig. 8 (d): the sparse generator retrieves better than plain auto-encoders."""
    areas, ranks = ranked("fig8", GENERATORS)
    if not ranks:
        return
    leads = [
        one["SiGAH"] - max(value for label, value in one.items() if label != "SiGAH")
        for one in (areas, ranks)
    ]
    verdict = " and ".join(
        f"{'ahead' if lead > SMALL else 'behind' if lead < -SMALL else 'level'} by {metric}"
        for lead, metric in zip(leads, ("mAP", "map"), strict=True)
    )
    claim = "the sparse generator retrieves better than auto-encoders of 3 and 4 layers (Fig. 8 d)"
    yield claim, CURVES, listed(areas, ranks), verdict


def retrieval() -> Iterator[Line]:
    """Tables 1 and 2: the best mAP and P@100, and who comes second."""
    for metric, text in (("pr_area", "mAP"), ("precision@100", "P@100")):
        figures = EXPERIMENTS["table2"].paper["mnist"]
        place = 0 if metric == "pr_area" else 2
        best = [max(figures[rival][place + i] for rival in RIVALS) for i in range(2)]
        ours = figures["SiGAH"][place : place + 2]
        paper = f"MNIST {ours[0]:.3f}/{ours[1]:.3f}, best other {best[0]:.3f}/{best[1]:.3f}"
        yield f"best {text} of all methods (Tables 1, 2)", paper, *ahead(metric)
    yield (
        "BA and SGH come second (Table 1)",
        "SGH, BA or OCH; on MNIST ITQ or SGH",
        *second_places(),
    )


SECTIONS: tuple[Callable[[], Iterator[Line]], ...] = (
    retrieval, dictionary_sizes, rebuilding, discriminator, margins, activations, loss_weights,
    generators,
)  # fmt: skip


def claims_table() -> str:
    """Every claim that can be measured, with the verdict that the figures give."""
    lines = [list(line) for section in SECTIONS for line in section()]
    return pipe_table(["the paper says", "its figure", "here", "verdict"], lines, left=4)


TABLES = {"claims": claims_table}
