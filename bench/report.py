"""report.py - a result of ./dev bench as text, and as Markdown with plots (SVG)."""
import html

BAR, ROW, LABEL, GAP = 420, 22, 360, 8
PEERS = ("discord.js", "express", "rqlite")  # their bars are grey

COLUMNS = {"per_s": "a second", "cpu_us_each": "CPU µs each", "p50_us": "p50 µs", "p99_us": "p99 µs", "moves": "moves",
           "pause_p50_ms": "pause p50 ms", "pause_p99_ms": "pause p99 ms", "silence_p50_ms": "silence p50 ms",
           "silence_max_ms": "silence max ms", "during_p99_ms": "asked meanwhile, p99 ms", "moved_mb": "MB moved",
           "first_s": "first s", "half_s": "half s", "last_s": "last s", "shards_s": "shards s", "idle_mib": "MiB idle",
           "memory_mib": "MiB", "start_s": "start s", "requests": "requests", "failed": "failed", "rows": "calls",
           "refused": "429s", "lost": "lost", "doubled": "doubled", "repeated": "repeated",
           "served_s": "served s", "settled_s": "last move s", "skew": "heaviest by mean", "leader_cpu_s": "leader's CPU s",
           "longest_turn_ms": "longest turn ms", "peak_memory_mib": "MiB at most"}
PLOTS = {"per_s": "a second", "cpu_us_each": "CPU µs each", "silence_p50_ms": "ms without an answer around a move, p50",
         "last_s": "s until the last guild is served", "idle_mib": "MiB with all guilds idle",
         "start_s": "s from start to all guilds served"}


def _number(value):
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 1:
        return f"{value:,.{1 if value >= 10 else 2}f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def _columns(figures):
    """{name: text} of what a table shows of one line's figures."""
    found = {title: _number(figures[key]) for key, title in COLUMNS.items() if key in figures}
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
    told = [(who, f["stages"]) for who, f in medians.items() if f.get("stages")]
    told += [(f"{who} at {f['stages_rate']:,.0f} a second", f["stages_at_rate"]) for who, f in medians.items()
             if f.get("stages_at_rate")]
    for who, stages in told:
        parts += ["", f"{who}, by stage:", "", "| stage | count | mean µs | p50 µs | p99 µs |", "|---|---:|---:|---:|---:|"]
        parts += [f"| {name} | {s['count']:,.0f} | {s['mean_us']:,.0f} | {s['p50_us']:,.0f} | {s['p99_us']:,.0f} |"
                  for name, s in stages.items()]
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


def _left_out(result):
    return [f"Left out: {what}: {' '.join(why.split())}" for what, why in result["left_out"].items()]


def as_text(result):
    parts = [_head(result), *_left_out(result)]
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
                  f'<rect x="{LABEL}" y="{y}" width="{width}" height="{ROW}" '
                  f'fill="{"#a0aec0" if name.startswith(PEERS) else "#2b6cb0"}"/>',
                  f'<text x="{LABEL + width + 6}" y="{y + 15}">{_number(value)}</text>']
    return "\n".join([*lines, "</svg>", ""])


def write(result, folder):
    """folder/report.md and its plots."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Bench", "", _head(result), "", *_left_out(result), ""]
    if result["targets"]:
        parts += [_targets(result), ""]
    for name, scenario in result["scenarios"].items():
        parts += [f"## {name}", "", "```", scenario["what"], "```", "", _table(scenario["median"]),
                  _stages(scenario["median"]), ""]
        for key, title in PLOTS.items():
            values = {who: f[key] for who, f in scenario["median"].items() if key in f}
            if name != "floors" and len(values) > 1:
                (folder / f"{name}-{key}.svg").write_text(bars(f"{name}, {title}", values))
                parts += [f"![{name}, {title}]({name}-{key}.svg)", ""]
    (folder / "report.md").write_text("\n".join(parts))
