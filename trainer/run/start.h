#pragma once

#include <optional>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/watch/watchdog.h"
#include "trainer/config/train_config.h"
#include "trainer/data/blend.h"
#include "trainer/data/prepare.h"
#include "trainer/run/run_directory.h"
#include "trainer/state/state_snapshot.h"

namespace enodia {

/// The text of a configuration file. Local. Throws ConfigError with a remedy when there is none.
std::string read_config_file(const std::string& path);

/// The model that a run with this configuration starts from: a run that goes on is shaped by its
/// newest checkpoint (train.init may be gone by then), a new one by train.init. Local. Throws
/// FileError.
InitialModel find_initial_model(const TrainConfig& written, RunStart start);

/// Rank 0 reads the file and everybody parses its text with overrides of their own, which may be
/// wrong on one rank alone. Collective. Throws SharedError.
TrainConfig read_config(Communicator& world,
                        const std::string& path,
                        const std::vector<std::string>& overrides,
                        RunStart start,
                        const PartNames& parts);

/// The data sets of a run, open on this rank. All share the tokenizer of the first source.
struct RunData {
  std::vector<PreparedData> sources;  ///< of data.train, in its order; at least one
  Blend blend;
  std::optional<PreparedData> valid;

  const PreparedData& first() const { return sources.front(); }
  /// By content, not by path. Reads a little of every source.
  DataIdentity identity() const;
};

/// Opens the training and held-out data on this rank. Local. Throws FileError, also when they do
/// not share one tokenizer.
RunData open_data(const TrainConfig& config);

/// vocab_size 0 takes the tokenizer's; a larger one is padding, a smaller one a ConfigError.
void resolve_vocab_size(TrainConfig& config, const RunData& data);

/// Ranks may have been started with other arguments or another program, or see other files: found
/// out before the first step, or they would train on apart or wait for each other for ever.
/// Collective. Throws SharedError naming the first rank that differs from rank 0, and the key (with
/// both values), the data or the program in which it does.
void check_agreement(Communicator& world, const TrainConfig& config, const RunData& data);

/// Seconds of the sections of a run, `auto` resolved: start, first step and save 4 timeout_s, eval
/// timeout_s.
SectionTimeouts section_timeouts(const RunOptions& run);

}  // namespace enodia
