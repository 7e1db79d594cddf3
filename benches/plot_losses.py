"""Losses of runs as one SVG, from their metrics.

    python benches/plot_losses.py OUT.svg NAME=RUN_DIR...

Each line is the mean of eight steps' training losses; the points are held-out losses.
"""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 380, 56, 16, 150, 40
COLORS = ["#1b6ca8", "#d1702a", "#3a8a4d", "#a0337d"]
N_MEAN = 8


def read(folder):
    steps, held_out = [], []
    for line in (Path(folder) / "metrics.jsonl").read_text().splitlines():
        metric = json.loads(line)
        if metric["kind"] == "step":
            steps.append((metric["step"], metric["loss"]))
        elif metric["kind"] == "evaluation":
            held_out.append((metric["step"], metric["loss"]))
    mean = [(step, sum(loss for _, loss in steps[max(0, i - N_MEAN + 1) : i + 1]) / min(i + 1, N_MEAN)) for i, (step, _) in enumerate(steps)]
    return mean, held_out


def main():
    out, *named = sys.argv[1:]
    runs = {name: read(folder) for name, _, folder in (item.partition("=") for item in named)}
    points = [point for mean, held_out in runs.values() for point in mean + held_out]
    last = max(step for step, _ in points)
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)

    def place(step, loss):
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)
        return f"{x:.1f},{y:.1f}"

    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="#333">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for loss in range(int(low) + 1, int(high) + 1):
        y = place(0, loss).split(",")[1]
        svg.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/><text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{loss}</text>')
    for step in range(0, last + 1, max(1, last // 6)):
        x = place(step, low).split(",")[0]
        svg.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{step}</text>')
    svg.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">step</text>')
    svg.append(f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">nats a token</text>')
    for color, (row, (name, (mean, held_out))) in zip(COLORS, enumerate(runs.items())):
        line = " ".join(place(*point) for point in mean)
        svg.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        for point in held_out:
            x, y = place(*point).split(",")
            svg.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>')
        y = TOP + 14 + 20 * row
        svg.append(f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h18" stroke="{color}" stroke-width="2"/><text x="{WIDTH - RIGHT + 36}" y="{y}">{name}</text>')
    svg.append("</svg>\n")
    Path(out).write_text("\n".join(svg))


main()
