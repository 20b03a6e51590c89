#pragma once

#include "models/model_parts.h"

namespace enodia {

/// The program `enodia`, whole: reads the command line, starts MPI for the commands that run on
/// ranks, and turns errors into sentences and exit codes (docs/errors.md). Returns the exit code;
/// an error of one rank alone ends the process. Once in a process.
///
/// A program of one's own is a main that lists its parts and calls this (docs/extending.md).
int run_program(int argc, char** argv, const ModelParts& parts = {});

}  // namespace enodia
