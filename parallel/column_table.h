#pragma once

#include <map>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "common/memory_ledger.h"

namespace enodia {

/// Flat columns of equal length: `master`, `grad`, and whatever the optimizer adds by name. Who
/// moves or saves elements moves those of every column and knows no names.
class ColumnTable {
 public:
  ColumnTable(int64_t elements, at::ScalarType dtype) : elements_(elements), dtype_(dtype) {}
  int64_t elements() const { return elements_; }
  /// A column of zeros, whose memory counts as `kind`; adding one that exists is an error
  /// (UsageError).
  void add_column(const std::string& name, MemoryKind kind);
  bool has_column(std::string_view name) const { return columns_.find(name) != columns_.end(); }
  /// [elements]; throws UsageError for an unknown name.
  const at::Tensor& column(std::string_view name) const;

 private:
  int64_t elements_;
  at::ScalarType dtype_;
  std::map<std::string, at::Tensor, std::less<>> columns_;
};

}  // namespace enodia
