#!/usr/bin/env python3
"""Checks that each code block of a page is the file that it names: ```cpp docs/extending/a.cpp

Usage: page_test.py PAGE [--write] | --self-test      (from the root of the repository)

--write puts the files into the page instead. Blocks without a language are not code.
"""

import re
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def with_files(page, root):
    """The page as it should be, and what is wrong with it."""
    problems = []

    def replace(match):
        language, path, text = match.groups()
        if path is None:
            problems.append(f"a block of {language} names no file: {text[:40]!r}")
            return match[0]
        if not (root / path).is_file():
            problems.append(f"there is no file {path}")
            return match[0]
        content = (root / path).read_text(encoding="utf-8")
        if content != text:
            problems.append(f"{path} is not what the page shows")
        return f"```{language} {path}\n{content}```"

    result = BLOCK.sub(replace, page)
    if not BLOCK.search(page):
        problems.append("no code block")
    return result, problems


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a.cpp").write_text("int a;\n", encoding="utf-8")
        good = "text\n```cpp a.cpp\nint a;\n```\nmore\n"
        assert with_files(good, root) == (good, [])
        for page, problem in ((good.replace("int a", "int b"), "is not what the page shows"),
                              (good.replace("a.cpp", "b.cpp"), "there is no file b.cpp"),
                              (good.replace(" a.cpp", ""), "names no file"),
                              ("text\n", "no code block")):
            found = with_files(page, root)[1]
            assert len(found) == 1 and problem in found[0], (page, found)
        assert with_files(good.replace("int a", "int b"), root)[0] == good
    print("all kinds of stale pages are found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    page = Path(sys.argv[1])
    result, problems = with_files(page.read_text(encoding="utf-8"), Path())
    if sys.argv[2:] == ["--write"]:
        page.write_text(result, encoding="utf-8")
        return 0
    print("\n".join(problems) or f"{page} shows the files as they are")
    if problems:
        print(f"python3 {sys.argv[0]} {page} --write mends it")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
