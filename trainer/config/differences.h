#pragma once

#include <span>
#include <string>
#include <vector>

#include "trainer/config/train_config.h"

namespace enodia {

/// One thing in which a resumed run differs from its checkpoint.
struct ConfigChange {
  std::string path;      ///< of the key
  std::string text;      ///< "optim.lr: 0.003 -> 0.0005 (--set)"
  bool allowed = false;  ///< false: with it, it would be another run
};

/// Every key whose value differs, in the schema's order, then the stored keys that there are no
/// more (`unknown`). A key that was not stored is compared by its default. Not allowed is a change
/// of what the samples already seen depend on: the model, the data's order, the seed, the sequence
/// length, the batch size.
std::vector<ConfigChange> list_changes(const TrainConfig& stored,
                                       std::span<const ConfigEntry> unknown,
                                       const TrainConfig& wanted);

}  // namespace enodia
