"""report.py - a result of ./dev bench as text, and as Markdown with plots (SVG)."""
import html

BAR, ROW, LABEL, GAP = 420, 22, 330, 8


def _columns(figures):
    """{name: text} of what a table shows of one line's figures."""
    names = {"per_s": "a second", "cpu_us_each": "CPU µs each", "p50_us": "p50 µs", "p99_us": "p99 µs",
             "memory_mib": "MiB", "failed": "failed"}
    found = {title: f"{figures[key]:,.0f}" if figures[key] >= 100 else f"{figures[key]:,.1f}".removesuffix(".0")
             for key, title in names.items() if key in figures}
    at = figures.get("at_rate")
    if at:
        found[f"p50 / p99 µs at {at['rate']:,.0f}/s"] = f"{at['p50_us']:,.0f} / {at['p99_us']:,.0f}"
    return found


def _table(medians):
    rows = {who: _columns(figures) for who, figures in medians.items()}
    titles = list(dict.fromkeys(t for columns in rows.values() for t in columns))
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
    lines += [f"| {who} | " + " | ".join(columns.get(t, "–") for t in titles) + " |" for who, columns in rows.items()]
    return "\n".join(lines)


def _stages(medians):
    """Tables of the stages, of those who tell them."""
    parts = []
    for who, figures in medians.items():
        if not figures.get("stages"):
            continue
        parts += ["", f"{who}, by stage:", "", "| stage | count | mean µs | p50 µs | p99 µs |", "|---|---:|---:|---:|---:|"]
        parts += [f"| {name} | {s['count']:,.0f} | {s['mean_us']:,.0f} | {s['p50_us']:,.0f} | {s['p99_us']:,.0f} |"
                  for name, s in figures["stages"].items()]
    return "\n".join(parts)


def _targets(result):
    lines = ["| target | wanted | measured | |", "|---|---:|---:|---|"]
    lines += [f"| {name} | {t['way']} {t['target']:g} | {t['measured']:g} | {'met' if t['met'] else '**missed**'} |"
              for name, t in result["targets"].items()]
    return "\n".join(lines)


def _head(result):
    m = result["machine"]
    return (f"{result['date']}, commit {result['commit']}, {m['cores']} cores of {m['cpu']}, {m['memory_gib']} GiB, "
            f"Linux {m['kernel']}, nats-server {m['nats']}, load {m['load_before']} before; `{result['command']}`")


def as_text(result):
    parts = [_head(result)]
    for name, scenario in result["scenarios"].items():
        parts += ["", name, _table(scenario["median"]), _stages(scenario["median"])]
    return "\n".join([*parts, "", _targets(result)] if result["targets"] else parts)


def bars(title, values):
    """A bar a value, as SVG."""
    most = max(values.values()) or 1
    height = 30 + len(values) * (ROW + GAP)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + BAR + 90}" height="{height}" '
             'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="#fff"/>',
             f'<text x="8" y="18" font-weight="bold">{html.escape(title)}</text>']
    for n, (name, value) in enumerate(values.items()):
        y, width = 30 + n * (ROW + GAP), max(1, round(BAR * value / most))
        lines += [f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>',
                  f'<rect x="{LABEL}" y="{y}" width="{width}" height="{ROW}" fill="{"#2b6cb0" if name == "ours" else "#a0aec0"}"/>',
                  f'<text x="{LABEL + width + 6}" y="{y + 15}">{value:,.0f}</text>']
    return "\n".join([*lines, "</svg>", ""])


def write(result, folder):
    """folder/report.md and its plots."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Bench", "", _head(result), ""]
    if result["targets"]:
        parts += [_targets(result), ""]
    for name, scenario in result["scenarios"].items():
        parts += [f"## {name}", "", "```", scenario["what"], "```", "", _table(scenario["median"]), _stages(scenario["median"]), ""]
        for key, title in (("per_s", "a second"), ("cpu_us_each", "CPU µs each")):
            values = {who: f[key] for who, f in scenario["median"].items() if key in f}
            if name != "floors" and len(values) > 1:
                (folder / f"{name}-{key}.svg").write_text(bars(f"{name}, {title}", values))
                parts += [f"![{name}, {title}]({name}-{key}.svg)", ""]
    (folder / "report.md").write_text("\n".join(parts))
