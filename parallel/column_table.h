#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/memory_ledger.h"
#include "parallel/slice.h"

namespace enodia {

/// Flat columns over the same elements: `master`, `grad`, and whatever the optimizer adds by name.
/// Who moves or saves elements moves those of every column and knows no names.
class ColumnTable {
 public:
  explicit ColumnTable(int64_t elements, c10::Device device = c10::Device(c10::DeviceType::CPU));
  int64_t elements() const { return elements_; }
  /// Columns added from now on have memory for these elements only (ascending, apart).
  void keep_only(std::vector<Slice> kept);
  /// A column of zeros, whose memory counts as `kind`; adding one that exists is an error
  /// (UsageError).
  void add_column(const std::string& name, MemoryKind kind, at::ScalarType dtype);
  /// The columns of all kinds but `left_out`, in order of name.
  std::vector<std::string> names_except(MemoryKind left_out) const;
  bool has_column(std::string_view name) const { return columns_.find(name) != columns_.end(); }
  /// All memory of a column, flat; throws UsageError for an unknown name.
  const at::Tensor& column(std::string_view name) const { return find(name).memory; }
  /// The elements [first, first + count) of a column, flat. Throws UsageError when the column does
  /// not keep all of them.
  at::Tensor view(std::string_view name, const Slice& elements) const;

 private:
  struct Column {
    at::Tensor memory;
    MemoryKind kind;
    std::vector<Slice> kept;
  };
  const Column& find(std::string_view name) const;

  int64_t elements_;
  c10::Device device_;
  std::vector<Slice> kept_;
  std::map<std::string, Column, std::less<>> columns_;
};

}  // namespace enodia
