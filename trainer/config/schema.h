#pragma once

#include <functional>
#include <string>
#include <vector>

#include "trainer/config/train_config.h"
#include "trainer/config/value_rules.h"

namespace enodia {

/// One key of the configuration, bound to its field in one TrainConfig.
struct ConfigKey {
  std::string section;
  std::string name;
  std::string meaning;
  bool required = false;
  ValueRule rule;
  /// Reads into the field, or tells what is wrong: sentences to follow the path, with their places.
  std::function<std::vector<YamlComplaint>(const YamlNode&)> read;
  std::function<std::string()> write;  ///< as write_value, of the field

  std::string path() const { return section + "." + name; }
};

/// Every key of a configuration in the order in which it is written: the one table behind reading,
/// writing, comparing and documenting. It depends on config.parts. The keys hold references into
/// `config`.
std::vector<ConfigKey> list_keys(TrainConfig& config);

}  // namespace enodia
