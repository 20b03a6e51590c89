#pragma once

#include <functional>
#include <optional>

#include "collectives/communicator.h"
#include "collectives/watch/watchdog.h"
#include "models/model_parts.h"
#include "trainer/commands/commands.h"

namespace enodia {

/// All that was said on the command line; one command is chosen. The commands refer to it, so it
/// stays where it is.
struct CommandLine {
  explicit CommandLine(const ModelParts& known) : parts(known) {}
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  const ModelParts& parts;  // of this program
  TrainArguments train;
  bool json_steps = false;
  std::optional<StopSignal> stop;  // heard by train only: the other commands have nothing to save
  EvalArguments eval;
  GenerateArguments generate;
  LogitsArguments logits;
  PrepareArguments prepare;
  ImportArguments import_model;
  ExportArguments export_model;
  InspectArguments inspect;
  SimulateArguments simulate;
  DoctorArguments doctor;
  HelpArguments help;
  bool fresh = false;
  bool print_config = false;
  std::function<void(Communicator&, Watchdog&)> on_ranks;  // set by commands that communicate
  std::function<void()> on_one;                            // set by the others and --print-config
};

/// Reads the command line into `line`. Returns the exit code when there is nothing left to do:
/// after --help and --version, and after a mistake, which rank 0 has told. Local.
std::optional<int> read_command_line(int argc, char** argv, CommandLine& line);

}  // namespace enodia
