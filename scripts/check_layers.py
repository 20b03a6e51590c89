#!/usr/bin/env python3
"""Checks that dependencies between the rooms of the source tree point downwards only.

Usage: check_layers.py [ROOT] | --self-test

Rules: a room includes and links only itself and the rooms that ALLOWED names; each heavy header
stays where HEADERS puts it; TORCH_FREE places do not reach LibTorch, not even through a header of
ours. Tests and the examples in docs may see every room, but HEADERS holds for them too. Prints each
violation as file:line: text and exits 1 when there is any.
"""

import re
import sys
import tempfile
from pathlib import Path

# Room -> the rooms below it that it may see. A file is in the room with the longest matching name:
# models/model_options.h is in models/model_options, models/decoder.h in models.
ALLOWED = {
    "common": "",
    "collectives": "common",
    "collectives/mpi": "common collectives",
    "collectives/nccl": "common collectives",
    "parallel/placement": "common",
    "parallel": "common collectives parallel/placement",
    "models/model_options": "common",
    "models/sequence_layout": "common",
    "models/flops": "common models/model_options models/sequence_layout",
    "models/parameter_list": "common models/model_options",
    "models/rotary": "common models/model_options",
    "models/kernels": "common",
    "models": "common collectives parallel/placement parallel models/model_options "
              "models/sequence_layout models/flops models/parameter_list models/rotary models/kernels",
    "optim": "common collectives parallel/placement parallel",
    "checkpoint": "common collectives models/model_options models/parameter_list models/flops "
                  "models/rotary models/sequence_layout",
    "simulator": "common parallel/placement checkpoint",
    "trainer": "common collectives simulator collectives/mpi collectives/nccl parallel/placement parallel "
               "models/model_options models/sequence_layout models/flops models/parameter_list "
               "models/rotary models optim checkpoint",
}
FOLDERS = ("common", "collectives", "parallel", "models", "optim", "checkpoint", "simulator", "trainer")

# Header -> the only places that include it.
HEADERS = [
    (r"mpi\.h", ("collectives/mpi/", "tests/mpi_main")),
    (r"collectives/mpi/.*", ("collectives/mpi/", "trainer/commands/", "trainer/command_line.cpp",
                           "trainer/program.cpp", "tests/")),
    (r"(nccl|cuda_runtime|cuda_runtime_api)\.h", ("collectives/nccl/",)),
    (r"collectives/nccl/.*", ("collectives/nccl/", "trainer/commands/", "trainer/run/cuda_",
                            "tests/")),
    (r"torch/(torch|all)\.h", ()),
    (r"yaml-cpp/.*", ("trainer/config/",)),
    (r"sentencepiece.*", ("trainer/data/",)),
    (r"(oniguruma|utf8proc)\.h", ("trainer/data/hf/",)),
    (r"(spdlog|fmt)/.*", ("common/log.cpp",)),
    (r"CLI/.*", ("trainer/commands/", "trainer/command_line.cpp")),
]

TORCH = r"(torch|ATen|c10)/.*"
TORCH_FREE = (
    "common/", "collectives/", "parallel/placement/", "checkpoint/", "simulator/", "trainer/config/",
    "trainer/data/", "trainer/forecast/", "parallel/slice.", "models/model_options.", "models/flops.", "models/sequence_layout.", "models/parameter_list.",
    "models/rotary.", "models/kernels/",
)
EXTERNAL_TARGETS = ("options", "torch", "mpi", "nccl", "sentencepiece", "oniguruma", "utf8proc",
                    "xxhash")


def room_of(path):
    """The room of a path from the root, or None when it lies outside the rooms."""
    rooms = [r for r in ALLOWED if path == r or path.startswith((r + "/", r + "."))]
    return max(rooms, key=len, default=None)


def may_see(room, other):
    return other == room or other in ALLOWED[room].split()


def is_torch_free(room):
    return (room + "/").startswith(TORCH_FREE) or room + "." in TORCH_FREE


def includes(text):
    """(line number, quoted?, header) of each #include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)', line)
        if match:
            yield number, match[1] == '"', match[2]


def reaches_torch(header, sources, seen):
    """Whether `header` is one of LibTorch or includes one through headers of ours."""
    if re.fullmatch(TORCH, header):
        return True
    if header not in sources or header in seen:
        return False
    seen.add(header)
    return any(reaches_torch(h, sources, seen) for _, _, h in includes(sources[header]))


def check_include(path, quoted, header, sources):
    """Yields what is wrong with one include."""
    room, other = room_of(path), room_of(header)
    if room and other and not may_see(room, other):
        yield f"{room} must not see {header}"
    if room and quoted and not other:
        yield f'"{header}" is not a path from the root into the product (others: <...>)'
    for pattern, places in HEADERS:
        if re.fullmatch(pattern, header) and not path.startswith(places):
            yield f"{header} is only for {', '.join(places) or 'no file'}"
    if path.startswith(TORCH_FREE) and reaches_torch(header, sources, set()):
        yield f"{header} brings LibTorch into a place that must do without"


def declared_libraries(cmake_files):
    """Library -> rooms of its sources; and (file, line, library, linked target) of each link."""
    rooms, links = {}, []
    for path, text in cmake_files.items():
        text = re.sub(r"#.*", "", text)
        calls = r"(enodia_add_library\(\s*|target_link_libraries\(\s*enodia_)(\w+)([^)]*)\)"
        for match in re.finditer(calls, text):
            line = text.count("\n", 0, match.start()) + 1
            if match[1].startswith("enodia_add_library"):
                folder = Path(path).parent
                named = re.findall(r"[\w/]+\.cpp", match[3]) or [""]  # a list in a variable
                rooms[match[2]] = {room_of(str(folder / source)) for source in named}
            links += [(path, line, match[2], t) for t in re.findall(r"enodia::(\w+)", match[3])]
    return rooms, links


def check_links(cmake_files):
    """Yields upward link edges. A library stands as high as its highest source."""
    rooms, links = declared_libraries(cmake_files)
    for path, line, library, target in links:
        if library not in rooms:
            continue
        if target in EXTERNAL_TARGETS:
            if target == "torch" and all(map(is_torch_free, rooms[library])):
                yield f"{path}:{line}: {library} must not link enodia::torch"
        elif target not in rooms:
            yield f"{path}:{line}: enodia::{target} is declared by no enodia_add_library"
        elif not any(all(may_see(r, t) for t in rooms[target]) for r in rooms[library]):
            yield f"{path}:{line}: {library} must not link enodia::{target}"


def check_tree(root):
    """All violations below `root`."""
    sources = {}
    for folder in (*FOLDERS, "docs", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                sources[str(path.relative_to(root))] = path.read_text()
    problems = [
        f"{path}:{number}: {problem}"
        for path, text in sources.items()
        for number, quoted, header in includes(text)
        for problem in check_include(path, quoted, header, sources)
    ]
    cmake_files = {
        str(path.relative_to(root)): path.read_text()
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("CMakeLists.txt"))
    }
    return len(sources), problems + list(check_links(cmake_files))


LEGAL = {
    "common/error.h": "#include <string>",
    "common/log.cpp": "#include <spdlog/spdlog.h>",
    "collectives/mpi/mpi_world.cpp": "#include <mpi.h>",
    "collectives/nccl/nccl_table.h": "#include <nccl.h>",
    "models/decoder.h": '#include <ATen/core/Tensor.h>\n#include "parallel/expert_store.h"',
    "models/model_options.h": '#include "common/error.h"',
    "checkpoint/native.h": '#include "models/model_options.h"\n#include "collectives/work.h"',
    "trainer/commands/train.cpp": '#include "collectives/mpi/mpi_world.h"\n#include <CLI/CLI.hpp>',
    "tests/models/decoder_test.cpp": '#include "tests/references/decoder.h"',
    "common/CMakeLists.txt": "enodia_add_library(common SOURCES log.cpp)",
    "models/CMakeLists.txt":
        "enodia_add_library(model_options\n  SOURCES model_options.cpp\n  PUBLIC enodia::common)\n"
        "enodia_add_library(models SOURCES decoder.cpp PUBLIC enodia::model_options enodia::torch)",
    "checkpoint/CMakeLists.txt":
        "enodia_add_library(checkpoint SOURCES native.cpp PUBLIC enodia::model_options)",
    "optim/CMakeLists.txt": "enodia_add_library(optim SOURCES ${sources} PRIVATE enodia::common)",
}

# Each adds one file to the legal tree, or replaces one, and must give exactly one violation.
FAULTS = [
    ("common/a.h", '#include "collectives/work.h"', "common must not see"),
    ("collectives/a.cpp", '#include "trainer/step.h"', "collectives must not see"),
    ("parallel/a.cpp", '#include "models/decoder.h"', "parallel must not see"),
    ("parallel/placement/a.h", '#include "parallel/mesh.h"', "parallel/placement must not see"),
    ("optim/a.cpp", '\n  # include "models/model_options.h"', "optim/a.cpp:2: optim must not see"),
    ("checkpoint/a.cpp", '#include "parallel/mesh.h"', "checkpoint must not see"),
    ("models/a.cpp", '#include "optim/adamw.h"', "models must not see"),
    ("models/a.cpp", '#include "tests/references/x.h"', "not a path from the root"),
    ("models/a.cpp", '#include "decoder.h"', "not a path from the root"),
    ("parallel/a.cpp", "#include <mpi.h>", "mpi.h is only for"),
    ("tests/common/a_test.cpp", "#include <mpi.h>", "mpi.h is only for"),
    ("trainer/step/a.cpp", '#include "collectives/mpi/mpi_world.h"', "is only for"),
    ("parallel/a.cpp", "#include <nccl.h>", "nccl.h is only for collectives/nccl/"),
    ("tests/collectives/a_test.cpp", "#include <nccl.h>", "nccl.h is only for collectives/nccl/"),
    ("parallel/a.cpp", "#include <cuda_runtime_api.h>", "is only for collectives/nccl/"),
    ("trainer/step/a.cpp", '#include "collectives/nccl/nccl_link.h"', "is only for"),
    ("collectives/nccl/a.cpp", '#include "parallel/mesh.h"', "collectives/nccl must not see"),
    ("models/a.cpp", "#include <torch/torch.h>", "is only for no file"),
    ("trainer/data/a.cpp", "#include <yaml-cpp/yaml.h>", "is only for trainer/config/"),
    ("trainer/step/a.cpp", "#include <sentencepiece_processor.h>", "is only for trainer/data/"),
    ("trainer/data/a.cpp", "#include <oniguruma.h>", "is only for trainer/data/hf/"),
    ("common/a.cpp", "#include <spdlog/spdlog.h>", "is only for common/log.cpp"),
    ("trainer/step/a.cpp", "#include <CLI/CLI.hpp>", "is only for trainer/commands/"),
    ("collectives/a.cpp", "#include <c10/core/Device.h>", "brings LibTorch"),
    ("models/sequence_layout.h", "#include <ATen/core/Tensor.h>", "brings LibTorch"),
    ("trainer/config/a.cpp", '#include "models/decoder.h"', "brings LibTorch"),
    ("common/CMakeLists.txt",
     "enodia_add_library(common SOURCES log.cpp PUBLIC enodia::models)", "must not link"),
    ("checkpoint/CMakeLists.txt",
     "enodia_add_library(checkpoint SOURCES native.cpp PRIVATE enodia::models)", "must not link"),
    ("checkpoint/CMakeLists.txt",
     "enodia_add_library(checkpoint SOURCES native.cpp PRIVATE enodia::torch)", "enodia::torch"),
    ("common/CMakeLists.txt",
     "enodia_add_library(common SOURCES log.cpp)\n"
     "target_link_libraries(enodia_common PUBLIC enodia::models)", ":2: common must not link"),
    ("optim/CMakeLists.txt",
     "enodia_add_library(optim SOURCES ${sources} PRIVATE enodia::models)", "must not link"),
    ("common/CMakeLists.txt",
     "enodia_add_library(common SOURCES log.cpp PUBLIC enodia::nothing)", "declared by no"),
    ("models/CMakeLists.txt",
     "enodia_add_library(model_options SOURCES model_options.cpp PUBLIC enodia::torch)",
     "model_options must not link enodia::torch"),
    ("models/kernels/cpu/a.cpp", '#include "models/ops.h"', "models/kernels must not see"),
]


def problems_of(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return check_tree(Path(folder))[1]


def self_test():
    """Each fault of FAULTS is found, alone, and the legal tree has none."""
    wrong = [f"legal tree: {problem}" for problem in problems_of(LEGAL)]
    for path, text, expected in FAULTS:
        problems = problems_of({**LEGAL, path: text})
        if len(problems) != 1 or expected not in problems[0]:
            wrong.append(f"{path}: expected one violation with '{expected}', found {problems}")
    print("\n".join(wrong) or f"all {len(FAULTS)} kinds of violation are found")
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    files, problems = check_tree(root)
    print("\n".join(problems) or f"{files} files, all dependencies point downwards")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
