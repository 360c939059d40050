#!/usr/bin/env python3
"""Makes prometheusrule.yaml, the operator's form of rules.yaml. --print: to stdout instead."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
HEAD = """# Made by make_rule.py from rules.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: guildbus
spec:
"""


def made():
    lines = (HERE / "rules.yaml").read_text().splitlines()
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        print(made(), end="")
    else:
        (HERE / "prometheusrule.yaml").write_text(made())
