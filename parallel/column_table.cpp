#include "parallel/column_table.h"

#include <ATen/ops/zeros.h>

#include "common/check.h"

namespace enodia {

void ColumnTable::add_column(const std::string& name, MemoryKind kind) {
  ENODIA_CHECK(!has_column(name), "column '", name, "' exists already");
  const MemoryScope scope(kind);
  columns_.emplace(name, at::zeros({elements_}, at::TensorOptions().dtype(dtype_)));
}

const at::Tensor& ColumnTable::column(std::string_view name) const {
  const auto found = columns_.find(name);
  ENODIA_CHECK(found != columns_.end(), "there is no column '", name, "'");
  return found->second;
}

}  // namespace enodia
