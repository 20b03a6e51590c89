#pragma once

#include "checkpoint/shard.h"

namespace enodia {

/// The weights of a stored model under Enodia's names (models/parameter_list.h), whatever format
/// they lie in. Local; safe to read from by several threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// Fills wanted.data with the box it asks for, converted to wanted.dtype (float32 or float64);
  /// wanted.name is a parameter's and wanted.shape its global shape. Throws FileError naming the
  /// file and the tensor when the parameter is missing, has another shape, or is damaged.
  virtual void read(const Shard& wanted) const = 0;
};

}  // namespace enodia
