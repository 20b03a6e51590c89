#!/usr/bin/env python3
"""Turns the World English Bible into a training and a held-out set of documents, one per chapter.

Usage: mod2imp engWEB2015eb | corpus_web.py FOLDER

Writes FOLDER/train.jsonl and FOLDER/valid.jsonl, one {"text": ...} a line; every twentieth chapter
is held out. Input is the SWORD project's import format: a line `$$$Book Chapter:Verse` heads the
OSIS markup of each verse. Verse 0 of a chapter holds its title.
"""

import html
import json
import re
import sys
from pathlib import Path

HELD_OUT_EVERY = 20


def plain_text(markup):
    """The words of OSIS markup. A footnote becomes a space: its neighbours carry none of their own."""
    text = re.sub(r"<note\b.*?</note>", " ", markup, flags=re.S)
    text = html.unescape(re.sub(r"<[^>]*>", "", text))
    return " ".join(text.split())


def documents(lines):
    """The text of each chapter, in the order of the input.

    A chapter 0, a book's title and introduction, opens the book's first chapter.
    """
    texts, name, markup = [], None, []
    for line in [*lines, "$$$"]:
        if not line.startswith("$$$"):
            markup.append(line)
            continue
        chapter = line[3:].strip().rpartition(":")[0]
        if chapter != name and not (name or "").endswith(" 0"):
            texts.append(plain_text("".join(markup)) if name else "")
            markup = []
        name = chapter
    return [text for text in texts if text]


def write_jsonl(path, texts):
    """One {"text": ...} a line; the file appears whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    partial.rename(path)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    sys.stdin.reconfigure(encoding="utf-8")
    texts = documents(sys.stdin)
    if len(texts) < HELD_OUT_EVERY:
        sys.exit(f"corpus_web.py: only {len(texts)} chapters on standard input; is the module installed?")
    folder.mkdir(parents=True, exist_ok=True)
    last = HELD_OUT_EVERY - 1
    train = [text for i, text in enumerate(texts) if i % HELD_OUT_EVERY != last]
    write_jsonl(folder / "valid.jsonl", texts[last::HELD_OUT_EVERY])
    write_jsonl(folder / "train.jsonl", train)
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts)} chapters, {size / 1e6:.2f} MB of text, {len(texts) - len(train)} held out")


if __name__ == "__main__":
    main()
