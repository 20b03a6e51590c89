#include "parallel/column_table.h"

#include <utility>

#include <ATen/ops/zeros.h>

#include "common/check.h"

namespace enodia {

ColumnTable::ColumnTable(int64_t elements, c10::Device device)
    : elements_(elements),
      device_(device),
      kept_{{0, elements}} {}

void ColumnTable::keep_only(std::vector<Slice> kept) {
  kept_ = std::move(kept);
}

void ColumnTable::add_column(const std::string& name, MemoryKind kind, at::ScalarType dtype) {
  ENODIA_CHECK(!has_column(name), "column '", name, "' exists already");
  int64_t count = 0;
  for (const Slice& part : kept_) {
    count += part.count;
  }
  const MemoryScope scope(kind);
  const auto options = at::TensorOptions().dtype(dtype).device(device_);
  columns_.emplace(name, Column{at::zeros({count}, options), kind, kept_});
}

std::vector<std::string> ColumnTable::names_except(MemoryKind left_out) const {
  std::vector<std::string> names;
  for (const auto& [name, column] : columns_) {
    if (column.kind != left_out) {
      names.push_back(name);
    }
  }
  return names;
}

const ColumnTable::Column& ColumnTable::find(std::string_view name) const {
  const auto found = columns_.find(name);
  ENODIA_CHECK(found != columns_.end(), "there is no column '", name, "'");
  return found->second;
}

at::Tensor ColumnTable::view(std::string_view name, const Slice& elements) const {
  const Column& column = find(name);
  if (elements.count == 0) {
    return column.memory.narrow(0, 0, 0);
  }
  int64_t before = 0;
  for (const Slice& part : column.kept) {
    if (part.first <= elements.first && elements.end() <= part.end()) {
      return column.memory.narrow(0, before + elements.first - part.first, elements.count);
    }
    before += part.count;
  }
  ENODIA_CHECK(false,
               "column '",
               name,
               "' has no memory here for elements ",
               elements.first,
               " to ",
               elements.end());
  return {};
}

}  // namespace enodia
