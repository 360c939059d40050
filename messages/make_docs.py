#!/usr/bin/env python3
"""Writes docs/messages.md from subjects.def, streams.h and guildbus.proto.

usage: messages/make_docs.py            writes the file
       messages/make_docs.py --print    prints it
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent / "docs/messages.md"

INTRO = """# Messages

<!-- Made by messages/make_docs.py from subjects.def, streams.h and guildbus.proto. Change those. -->

Every body on the bus is one protobuf `Envelope`, so that a body explains itself. Request endpoints also take
protobuf-JSON when the header `Content-Type: application/json` is set, and answer in kind:

    nats req guild.613425648685547541.portal -H Content-Type:application/json \\
        '{"portal": {"guildId": "613425648685547541", "actorId": "80351110224678912", "overview": {}}}'

`guildbusctl decode` turns any body on its stdin into JSON, so that traffic can be watched:

    nats sub --translate 'guildbusctl decode' 'event.>'

In JSON, fields have their lowerCamelCase names (the names below are taken, too), integers of 64 bits are strings of
digits (numbers are taken, too), bytes are base64, enums go by name, and a field named `*_json` is the JSON value itself;
a string there holds JSON text. A field that is not known is refused. In protobuf it is passed over, because a newer
sender may know more; a string that is not UTF-8 or holds a NUL, a body that is cut short and an envelope without a body
are refused with status INVALID. An answer with `error` carries a status of base/status.def.
"""

PARAMETERS = {
    "PART_GUILD": ["<part>", "<guild>"], "GUILD": ["<guild>"], "POD": ["<pod>"], "VERB": ["<verb>"],
    "SHARD": ["<shard>"], "SHARD_OF": ["<count>", "<shard>"],
}


def prose(text):
    """A subject with its holes is code: Markdown would take <guild> for HTML."""
    text = re.sub(r"[\w.$-]*<\w+>(?:[\w.<>-]*[\w>])?", r"`\g<0>`", text)
    return text.replace("->", "→")


def cell(text):
    return (text if text.startswith("`") else prose(text)).replace("|", "\\|").strip()


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell(c) for c in row) + " |" for row in rows])


# ---- subjects.def ----

def subject_rows(text):
    pattern = r'^SUBJECT\(\w+,\s*\w+,\s*(\w+),\s*((?:"[^"]*"|\s|PRI\w+)+),\s*"[^"]*",\s*"([^"]*)",\s*"([^"]*)",\s*"([^"]*)"\)'
    for parameters, spelled, body, kept, who in re.findall(pattern, text, re.M):
        subject = re.sub(r'"|\s', "", spelled.replace("PRIu64", "u"))
        for hole in PARAMETERS[parameters]:
            subject = re.sub(r"%u|%s", hole, subject, count=1)
        yield f"`{subject}`", body, who, "–" if kept == "-" else kept


# ---- streams.h ----

def stream_rows(text):
    comment = text[:text.index("*/")]
    for line in comment.splitlines():
        found = re.match(r" \*   (\S+)\s{2,}(\S+)\s{2,}(.*)", line)
        if found:
            yield f"`{found[1]}`", f"`{found[2]}`", found[3]


# ---- guildbus.proto ----

class Proto:
    """The few forms of the language that guildbus.proto uses."""

    def __init__(self, text):
        self.lines = text[text.index("package"):].splitlines()[1:]
        self.out, self.comments = [], []

    def document(self):
        lines = iter(self.lines)
        for line in lines:
            stripped = line.strip()
            section = re.match(r"// ---- (.*) ----$", stripped)
            if section:
                self.out.append("\n### " + prose(section[1][0].upper() + section[1][1:]))
                self.comments = []
            elif stripped.startswith("//"):
                self.comments.append(stripped[2:].strip())
            elif re.match(r"(message|enum) ", stripped):
                self.block(stripped, lines)
            elif not stripped:
                self.comments = []
        return "\n".join(self.out)

    def block(self, first, lines):
        """A message or enum, on one line or many; what stands behind its first or last brace explains it."""
        kind, name, rest = re.match(r"(message|enum) (\w+) \{(.*)", first).groups()
        fields, notes = [], list(self.comments)
        body, after, closed = self.split(rest)
        if after:
            notes.append(after)
        fields += self.fields(body, "", "")
        choice = ""
        while not closed:
            line = next(lines).strip()
            code, _, note = line.partition("//")
            if code.strip().startswith("}"):
                if not choice:
                    break
                choice = ""
                if note:
                    fields[-1][3] += "; none set: " + note.split(":")[-1].strip()
            elif code.strip().startswith("oneof"):
                choice = code.split()[1]
            else:
                fields += self.fields(code, note.strip(), choice)
        self.show(kind, name, notes, fields)
        self.comments = []

    @staticmethod
    def split(rest):
        code, _, note = rest.partition("//")
        closed = code.rstrip().endswith("}")
        return (code.rstrip()[:-1] if closed else code), note.strip(), closed

    @staticmethod
    def fields(code, note, choice):
        found = re.findall(r"(?:((?:repeated )?[\w.]+) )?(\w+) = (\d+);", code)
        return [[f"`{name}`", kind, number, "; ".join(filter(None, [note, f"one of {choice}" if choice else ""]))]
                for kind, name, number in found]

    def show(self, kind, name, notes, fields):
        self.out.append(f"\n#### {name}\n")
        if notes:
            self.out.append(prose(" ".join(notes)) + "\n")
        if kind == "enum":
            self.out.append(table(["name", "number"], [(f[0], f[2]) for f in fields]))
        elif fields:
            self.out.append(table(["field", "type", "number", ""], fields))
        else:
            self.out.append("No fields.")


def read(name):
    return (HERE / name).read_text()


def make():
    parts = [
        INTRO,
        "## Subjects\n",
        "`<part>` is made from the guild's id: its bits above the lowest 22, mixed by splitmix64's finaliser, modulo 16.\n",
        table(["subject", "body", "who sends → who listens", "kept"], subject_rows(read("subjects.def"))),
        "\n## Streams\n",
        table(["stream", "subjects", ""], stream_rows(read("streams.h"))),
        "\n## Bodies",
        Proto(read("guildbus.proto")).document(),
        "",
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(make())
    else:
        TARGET.write_text(make())
