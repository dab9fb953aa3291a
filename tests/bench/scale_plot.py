#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""scale_plot.py JSON SVG: draws what tests/bench/scale.py measured."""

import io
import json
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402 (the backend is set first)

# Text as text, and no date or random ids: the same figures give the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "shunt", "font.size": 8,
                            "axes.spines.top": False, "axes.spines.right": False})


def axis(axes, title, x_label, y_label):
    axes.set_title(title, loc="left")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.grid(True, color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def lines(axes, x, *series):
    for label, y in series:
        axes.plot(x, y, marker="o", markersize=3, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def packets(axes, rows, of, title):
    axis(axes, title, of, "ns per packet")
    lines(axes, [row[of] for row in rows],
          ("established", [row["established_ns"] for row in rows]),
          ("new flow (SYN)", [row["new_ns"] for row in rows]))


def draw(data):
    figure, grid = pyplot.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    load = data["load"]
    services = [row["services"] for row in load]
    axis(grid[0][0], "Loading", "services of 10 backends", "seconds")
    lines(grid[0][0], services, ("wall", [row["load_s"] for row in load]),
          ("CPU", [row["load_cpu_s"] for row in load]))
    axis(grid[0][1], "Memory", "services of 10 backends", "MiB")
    lines(grid[0][1], services, ("agent", [row["agent_mib"] for row in load]),
          ("maps, sized for 10 000", [row["maps_mib"] for row in load]))
    axis(grid[0][2], "One weight change", "services of 10 backends", "ms, command to kernel")
    lines(grid[0][2], services, ("p50", [row["kernel_ms"]["p50"] for row in load]),
          ("p99", [row["kernel_ms"]["p99"] for row in load]))
    packets(grid[1][0], data["services"], "services", "65 536 flows to all services")
    packets(grid[1][1], data["backends"], "backends", "65 536 flows, 10 services")
    axis(grid[1][2], "One service of 10 backends", "flows", "ns per packet")
    lines(grid[1][2], [row["flows"] for row in data["flows"]],
          ("established", [row["established_ns"] for row in data["flows"]]))
    return figure


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as f:
        figure = draw(json.load(f))
    svg = io.StringIO()
    figure.savefig(svg, metadata={key: None for key in ("Date", "Creator", "Type", "Format")})
    head, rest = svg.getvalue().split("\n", 1)
    with open(sys.argv[2], "w") as f:
        f.write(f"{head}\n<!-- SPDX-License-Identifier: Apache-2.0 -->\n{rest}")


if __name__ == "__main__":
    main()
