"""Draws a run: each figure against its bound, the hops of a reaction, and costs at growing loads."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from emostream_lab.bench.figures import Figure, Findings, Growth, Hops, number

_REACHED, _SHORT = "#2a9d5c", "#d1495b"
# Bars are cut here. Otherwise one figure far better than its bound would make all other bars look alike.
_LONGEST_BAR = 4


def draw(findings: Findings, path: Path) -> None:
    """Draw the picture, with a panel for each kind of finding that there is. Without findings, write no file."""
    judged = [figure for figure in findings.figures if figure.headroom is not None]
    panels = [
        (len(judged) * 0.32, lambda axes: _draw_headroom(axes, judged)) if judged else None,
        (len(findings.hops) * 0.9 + 0.8, lambda axes: _draw_hops(axes, findings.hops)) if findings.hops else None,
        (3.0, lambda axes: _draw_growth(axes, findings.growth)) if findings.growth else None,
    ]
    wanted = [panel for panel in panels if panel is not None]
    if not wanted:
        return
    heights = [height for height, _ in wanted]
    figure, axes = plt.subplots(
        len(wanted), figsize=(11, sum(heights) + 1.2 * len(wanted)), height_ratios=heights, squeeze=False
    )
    for (_, draw_panel), panel_axes in zip(wanted, axes[:, 0], strict=True):
        draw_panel(panel_axes)  # type: ignore[no-untyped-call]
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_headroom(axes: Axes, figures: list[Figure]) -> None:
    headrooms = [min(figure.headroom or 0, _LONGEST_BAR) for figure in figures]
    colours = [_REACHED if figure.is_reached else _SHORT for figure in figures]
    bars = axes.barh([f"{figure.part}: {figure.name}" for figure in figures], headrooms, color=colours)
    labels = [f"{number(figure.value)} {figure.unit} ({figure.bound})" for figure in figures]
    # The background is white, so that the line of the bound does not cross the text.
    axes.bar_label(bars, labels, padding=4, fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(right=_LONGEST_BAR * 1.5)
    axes.invert_yaxis()
    axes.set_title(f"How many times better than its bound (bars end at {_LONGEST_BAR} ×)", loc="left")


def _draw_hops(axes: Axes, all_hops: list[Hops]) -> None:
    names = list(all_hops[0].milliseconds)
    labels = [f"trigger {hops.trigger_ms} ms" for hops in all_hops]
    ends = [0.0] * len(all_hops)
    narrowest_labelled = max(sum(hops.milliseconds.values()) for hops in all_hops) / 40
    for name in names:
        values = [hops.milliseconds[name] for hops in all_hops]
        bars = axes.barh(labels, values, left=ends, label=name)
        axes.bar_label(
            bars, [f"{value:.0f}" if value > narrowest_labelled else "" for value in values], label_type="center"
        )
        ends = [end + value for end, value in zip(ends, values, strict=True)]
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    axes.set_title("End-to-end latency: mean milliseconds of each hop", loc="left")


def _draw_growth(axes: Axes, growths: list[Growth]) -> None:
    for growth in growths:
        (first_load, first_cost) = next(iter(growth.costs.items()))
        axes.plot(
            [load / first_load for load in growth.costs],
            [cost / first_cost for cost in growth.costs.values()],
            marker="o",
            label=f"{growth.what}: {growth.cost} by {growth.load} (exponent {growth.exponent:+.2f})",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 100, 1_000], ["×1", "×2", "×4", "×8", "×100", "×1,000"])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    axes.set_title("What one unit of work costs as the load grows", loc="left")
