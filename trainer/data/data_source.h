#pragma once

#include <string>

namespace enodia {

/// A source of training samples, as data.train lists it.
struct DataSource {
  std::string prefix;   ///< of a Megatron .bin/.idx pair, relative to the current directory
  double weight = 1.0;  ///< above 0; its share of the samples is this over the sum of all weights

  bool operator==(const DataSource&) const = default;
};

}  // namespace enodia
