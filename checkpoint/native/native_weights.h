#pragma once

#include "checkpoint/native/checkpoint.h"
#include "checkpoint/weight_source.h"

namespace enodia {

/// The masters of a native checkpoint. Borrows it.
class NativeWeights : public WeightSource {
 public:
  explicit NativeWeights(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}
  void read(const Shard& wanted) const override;

 private:
  const Checkpoint& checkpoint_;
};

/// The tensor of a native checkpoint that holds a column of a parameter: "master/lm_head.weight".
std::string stored_name(std::string_view column, std::string_view parameter);

}  // namespace enodia
